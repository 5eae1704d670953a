// An ordinary TCP echo server. Usage: node tcp-echo.mjs NAME PORT...
import { createServer } from 'node:net';

const [, ...ports] = process.argv.slice(2);
for (const port of ports) {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  }).listen(Number(port), '0.0.0.0');
}
