// Steady load from a pod, with nothing but Node: HTTP requests, half of them on new connections, and one long raw TCP
// connection that echoes. Prints one JSON line on SIGTERM. Usage: node load.mjs URL TCPHOST TCPPORT
import { Agent, get } from 'node:http';
import { connect } from 'node:net';

const [url, tcpHost, tcpPort] = process.argv.slice(2);
const keepAlive = new Agent({ keepAlive: true, maxSockets: 4 });
const result = { sent: 0, ok: 0, failures: [], rawSent: 0, rawReceived: 0, rawClosed: false, rawSeconds: 0 };
let stopping = false;
let open = 0;

const request = (agent) =>
  new Promise((resolve) => {
    result.sent += 1;
    open += 1;
    const done = (failure) => {
      open -= 1;
      if (failure === undefined) result.ok += 1;
      else if (result.failures.length < 20) result.failures.push(failure);
      resolve();
    };
    get(url, { agent }, (response) => {
      response.resume();
      response.on('end', () => done(response.statusCode === 200 ? undefined : `status ${response.statusCode}`));
      response.on('error', (error) => done(error.message));
    }).on('error', (error) => done(error.message));
  });

const loop = async (agent) => {
  while (!stopping) {
    await request(agent);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
};
const loops = [loop(keepAlive), loop(keepAlive), loop(false)];

const started = Date.now();
const raw = connect({ host: tcpHost, port: Number(tcpPort) });
raw.on('data', (data) => (result.rawReceived += data.length));
raw.on('error', () => undefined);
raw.on('close', () => {
  if (!stopping) result.rawClosed = true;
});
const beat = setInterval(() => {
  if (raw.writable) {
    raw.write('tick');
    result.rawSent += 4;
  }
}, 100);

process.on('SIGTERM', async () => {
  stopping = true;
  clearInterval(beat);
  await Promise.all(loops);
  await new Promise((resolve) => setTimeout(resolve, 300));
  result.rawSeconds = Math.round((Date.now() - started) / 1000);
  process.stdout.write(`${JSON.stringify({ ...result, open })}\n`);
  process.exit(0);
});
process.stdout.write('{"ready":true}\n');
