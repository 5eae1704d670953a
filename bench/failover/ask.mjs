// Asks every <intervalMs>, and says what came back: one line `<who> <askedMs> <answeredMs>` per answer, in ms of the
// machine's monotonic clock. <ip> <port> <intervalMs>
import { createSocket } from 'node:dgram';

const [ip = '', port = '', intervalMs = ''] = process.argv.slice(2);
const nowMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;
const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
socket.on('message', (message) => {
  const [who, asked] = message.toString().split(' ');
  process.stdout.write(`answer ${who} ${asked} ${nowMs()}\n`);
});
socket.on('error', () => undefined);
let next = nowMs();
const ask = () => {
  const asked = nowMs();
  socket.send(String(asked), Number(port), ip, () => undefined);
  process.stdout.write(`ask ${asked}\n`);
  next += Number(intervalMs);
  setTimeout(ask, Math.max(0, next - nowMs()));
};
ask();
