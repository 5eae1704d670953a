// Answers HTTP requests with its own name: <name> <port>
import { createServer } from 'node:http';

const [name = '', port = ''] = process.argv.slice(2);
createServer((_request, response) => response.end(name)).listen(Number(port), '::', () => {
  process.stdout.write('ready\n');
});
