// Answers HTTP requests with its own name, after as many ms as their path says: <name> <port>
import { createServer } from 'node:http';

const [name = '', port = ''] = process.argv.slice(2);
createServer((request, response) => {
  const waitMs = Number(request.url.slice(1));
  if (waitMs > 0) setTimeout(() => response.end(name), waitMs);
  else response.end(name);
}).listen(Number(port), '::', () => {
  process.stdout.write('ready\n');
});
