// Holds one connection open and asks on it every 50 ms: prints each body, and `closed` at its end. <ip> <port>
import { connect } from 'node:net';

const [ip, port] = process.argv.slice(2);
const socket = connect(Number(port), ip);
const timer = setInterval(() => socket.write(`GET / HTTP/1.1\r\nhost: ${ip}\r\n\r\n`), 50);
socket.on('data', (chunk) => process.stdout.write(`${chunk.toString().split('\r\n\r\n')[1]?.trim()}\n`));
socket.on('error', () => undefined);
socket.on('close', () => {
  clearInterval(timer);
  process.stdout.write('closed\n');
});
