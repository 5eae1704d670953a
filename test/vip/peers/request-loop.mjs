// Requests a page again and again, each on a connection of its own, until SIGTERM; then prints a line of JSON: how many
// were answered, by whom, what went wrong, how long the slowest took, and how many took longer than half a second.
// Before, it prints such a line every 100 ms. <ip> <port> <atOnce> <path> <timeoutMs>
import { Agent, request } from 'node:http';

const [ip = '', port = '', atOnce = '', path = '', timeoutMs = ''] = process.argv.slice(2);
const agent = new Agent({ keepAlive: false });
const answered = {};
const failures = [];
let longestMs = 0;
let waited = 0;
let stopping = false;

const once = () =>
  new Promise((resolve) => {
    const startMs = performance.now();
    const fail = (error) => {
      failures.push(error.message);
      resolve();
    };
    request({ host: ip, port: Number(port), path, agent, timeout: Number(timeoutMs) }, (response) => {
      let name = '';
      response.on('data', (chunk) => (name += chunk));
      response.once('error', fail);
      response.once('end', () => {
        answered[name] = (answered[name] ?? 0) + 1;
        const tookMs = performance.now() - startMs;
        longestMs = Math.max(longestMs, tookMs);
        if (tookMs > 500) waited += 1;
        resolve();
      });
    })
      .once('timeout', function () {
        this.destroy(new Error('no answer in time'));
      })
      .once('error', fail)
      .end();
  });
const worker = async () => {
  while (!stopping) await once();
};
process.once('SIGTERM', () => (stopping = true));
const say = () => process.stdout.write(`${JSON.stringify({ answered, failures, longestMs, waited })}\n`);
const saying = setInterval(say, 100);
await Promise.all(Array.from({ length: Number(atOnce) }, worker));
clearInterval(saying);
say();
