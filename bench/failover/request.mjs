// Requests a page again and again, each on a connection of its own, until SIGTERM; then prints a line of JSON:
// how many were answered, by whom, and what went wrong. <ip> <port> <atOnce>
import { Agent, request } from 'node:http';

const [ip = '', port = '', atOnce = ''] = process.argv.slice(2);
const agent = new Agent({ keepAlive: false });
const answered = {};
const failures = [];
let stopping = false;

const once = () =>
  new Promise((resolve) => {
    const fail = (error) => {
      failures.push(error.message);
      resolve();
    };
    request({ host: ip, port: Number(port), agent, timeout: 2000 }, (response) => {
      let name = '';
      response.on('data', (chunk) => (name += chunk));
      response.once('error', fail);
      response.once('end', () => {
        answered[name] = (answered[name] ?? 0) + 1;
        resolve();
      });
    })
      .once('timeout', function () {
        this.destroy(new Error('no answer within 2 s'));
      })
      .once('error', fail)
      .end();
  });
const worker = async () => {
  while (!stopping) await once();
};
process.once('SIGTERM', () => (stopping = true));
await Promise.all(Array.from({ length: Number(atOnce) }, worker));
process.stdout.write(`${JSON.stringify({ answered, failures })}\n`);
