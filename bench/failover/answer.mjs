// Answers every datagram with its own name: <name> <port>
import { createSocket } from 'node:dgram';

const [name = '', port = ''] = process.argv.slice(2);
for (const [type, address] of [
  ['udp4', '0.0.0.0'],
  ['udp6', '::'],
]) {
  const socket = createSocket({ type, ipv6Only: type === 'udp6', reuseAddr: true });
  socket.on('message', (message, from) => socket.send(`${name} ${message.toString()}`, from.port, from.address));
  socket.on('error', () => undefined);
  socket.bind({ port: Number(port), address }, () => process.stdout.write('ready\n'));
}
