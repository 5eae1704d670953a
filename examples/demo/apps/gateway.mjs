// An ordinary HTTP gateway that knows nothing of any mesh: hands every request to one service. Usage: node gateway.mjs NAME ADDRESS:PORT PORT...
import { createServer, request } from 'node:http';

const [name, backend, ...ports] = process.argv.slice(2);
const [host, backendPort] = backend.split(':');
for (const port of ports) {
  createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = request(
      { host, port: Number(backendPort), method, path: url, headers: { ...headers, host: backend } },
      (answer) => {
        outgoing.writeHead(answer.statusCode, { ...answer.headers, 'x-gateway': name });
        answer.pipe(outgoing);
      },
    );
    onward.on('error', () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()));
    incoming.pipe(onward);
  }).listen(Number(port), '0.0.0.0');
}
