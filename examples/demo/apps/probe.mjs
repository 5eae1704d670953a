// A client that asks again and again, each time on a new connection, and prints a JSON line when the answer changes:
// which gateway answered, or how it failed. Usage: node probe.mjs URL INTERVAL_MS
import { get } from 'node:http';

const [url, intervalMs] = process.argv.slice(2);
let last;
let lastAnswer;

const ask = () => {
  const sent = Date.now();
  let over = false;
  const done = (outcome, gateway) => {
    if (over) return;
    over = true;
    const shown = gateway ?? outcome;
    if (outcome === '200') lastAnswer = { sent, gateway };
    if (shown === last) return;
    last = shown;
    process.stdout.write(`${JSON.stringify({ event: 'answer', outcome, gateway, at: Date.now(), lastAnswer })}\n`);
  };
  const request = get(url, { agent: false, timeout: 400 }, (response) => {
    response.resume();
    done(String(response.statusCode), response.headers['x-gateway']);
  });
  request.on('timeout', () => {
    done('time-out');
    request.destroy();
  });
  request.on('error', (error) => done(error.code ?? 'error'));
};
setInterval(ask, Number(intervalMs));
