// An ordinary HTTP server in a pod: says its name and who connected. node plain-server.mjs <name> <port…>
import { createServer } from 'node:http';

const [name, ...ports] = process.argv.slice(2);
let listening = 0;
for (const port of ports) {
  createServer((request, response) => {
    const from = request.socket.remoteAddress?.replace('::ffff:', '');
    response.end(`${name}:${port} from ${from}\n`);
  }).listen(Number(port), '::', () => {
    listening += 1;
    if (listening === ports.length) process.stdout.write('ready\n');
  });
}
