// An ordinary HTTP server that knows nothing of any mesh. Usage: node http-server.mjs NAME PORT...
import { createServer } from 'node:http';

const [name, ...ports] = process.argv.slice(2);
for (const port of ports) {
  createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      response.setHeader('content-type', 'text/plain');
      response.end(
        `${name} ${request.method} ${request.url} from ${request.socket.remoteAddress} ${request.headers['x-marker'] ?? ''}${body}\n`,
      );
    });
  }).listen(Number(port), '0.0.0.0');
}
