// Holds one connection open and uses it on command, line by line from standard input: `http PATH` sends a request on one
// kept-alive HTTP connection, `raw TEXT` sends text on one raw TCP connection. Answers one JSON line each, and tells when
// the connection was closed. Usage: node held.mjs HOST PORT [COUNT: connections to hold, the others idle]
import { createInterface } from 'node:readline';
import { connect } from 'node:net';

const [host, port, count = '1'] = process.argv.slice(2);
const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const socket = connect({ host, port: Number(port) }, () => say({ event: 'connected' }));
socket.on('data', (data) => say({ event: 'data', text: data.toString('latin1') }));
socket.on('error', (error) => say({ event: 'error', code: error.code }));
socket.on('close', () => say({ event: 'closed' }));
for (let more = 1; more < Number(count); more += 1) connect({ host, port: Number(port) }).on('error', () => undefined);
createInterface({ input: process.stdin }).on('line', (line) => {
  const [kind, rest] = [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)];
  if (socket.destroyed) say({ event: 'closed' });
  else if (kind === 'http') socket.write(`GET ${rest} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  else socket.write(rest);
});
