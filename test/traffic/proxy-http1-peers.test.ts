import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'node:http';
import { promisify } from 'node:util';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { proxyHttp1 } from '../../src/traffic/index.js';
import { cleanUp, dial, httpApp, startProxy, tcpServer } from './support.js';

afterEach(cleanUp);

const run = promisify(execFile);

/** Serves each CONNECT stream of a cleartext HTTP/2 server with the proxy; returns a function that opens one. */
async function http2Tunnel(upstreamPort: number): Promise<{ open: () => Duplex; close: () => Promise<void> }> {
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    void proxyHttp1({
      downstream: stream,
      connectUpstream: () => dial(upstreamPort),
      authorize: ({ path }) => ({ allowed: path !== '/denied' }),
      limits: { lingerMs: 20 },
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connectHttp2(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
  return {
    open: () => session.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:80' }, { endStream: false }),
    close: async () => {
      session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('proxyHttp1 behind a real HTTP/2 CONNECT stream', () => {
  it('never corrupts a byte, in hundreds of responses on hundreds of streams', async () => {
    const answer = `HTTP/1.1 200 OK\r\nX-Marker: ${'abcdefghij'.repeat(8)}\r\nContent-Length: 12\r\n\r\nhello world!`;
    const upstreamPort = await tcpServer((socket) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          text = text.slice(end + 4);
          socket.write(answer);
        }
      });
    });
    const tunnel = await http2Tunnel(upstreamPort);
    try {
      const refused =
        /^HTTP\/1\.1 403 Forbidden\r\nContent-Type: text\/plain; charset=utf-8\r\nContent-Length: 14\r\nDate: [^\r]{29}\r\n\r\n403 Forbidden\n/;
      for (let batch = 0; batch < 10; batch += 1) {
        await Promise.all(
          Array.from({ length: 30 }, async () => {
            const stream = tunnel.open();
            const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
            stream.end(Buffer.from(get('/1') + get('/denied') + get('/2')));
            const chunks: Buffer[] = [];
            for await (const chunk of stream) chunks.push(chunk as Buffer);
            const text = Buffer.concat(chunks).toString('latin1');
            expect(text.slice(0, answer.length)).toBe(answer);
            expect(text.slice(-answer.length)).toBe(answer);
            expect(text.slice(answer.length, -answer.length)).toMatch(refused);
          }),
        );
      }
    } finally {
      await tunnel.close();
    }
  });
});

describe('proxyHttp1 with clients we did not write', () => {
  it('serves curl: several URLs on one connection, upload, HEAD, a refusal', async () => {
    const connections = new Set<unknown>();
    const upstreamPort = await httpApp((req, res) => {
      connections.add(req.socket);
      let body = '';
      req.on('data', (chunk: Buffer) => (body += chunk.toString()));
      req.on('end', () => res.end(`${req.method ?? ''} ${req.url ?? ''} ${body}\n`));
    });
    const proxy = await startProxy({ upstreamPort, authorize: ({ path }) => ({ allowed: path !== '/no' }) });
    const base = `http://127.0.0.1:${String(proxy.port)}`;
    const { stdout } = await run('curl', ['-sS', '--noproxy', '*', `${base}/a`, `${base}/no`, `${base}/b?c=d`]);
    expect(stdout).toBe('GET /a \n403 Forbidden\nGET /b?c=d \n');
    expect(proxy.results).toHaveLength(1);
    expect(connections.size).toBe(1);
    const posted = await run('curl', [
      '-sS',
      '--noproxy',
      '*',
      '-H',
      'Transfer-Encoding: chunked',
      '-d',
      'x=1',
      `${base}/p`,
    ]);
    expect(posted.stdout).toBe('POST /p x=1\n');
    const expecting = await run('curl', [
      '-sS',
      '--noproxy',
      '*',
      '-H',
      'Expect: 100-continue',
      '-d',
      'y=2',
      `${base}/p`,
    ]);
    expect(expecting.stdout).toBe('POST /p y=2\n');
    const head = await run('curl', ['-sSI', '--noproxy', '*', `${base}/h`]);
    expect(head.stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const old = await run('curl', ['-sS', '--noproxy', '*', '--http1.0', `${base}/old`]);
    expect(old.stdout).toBe('GET /old \n');
    const h2c = await run('curl', ['-sS', '--noproxy', '*', '--http2', `${base}/up`]);
    expect(h2c.stdout).toBe('GET /up \n');
  });

  it('keeps a Node client alive over many requests', async () => {
    const upstreamPort = await httpApp((req, res) => res.end(req.url));
    const proxy = await startProxy({ upstreamPort });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let index = 0; index < 50; index += 1) {
      const path = `/${String(index)}`;
      const text = await new Promise<string>((resolve, reject) => {
        const req = request({ port: proxy.port, host: '127.0.0.1', path, agent }, (res) => {
          let body = '';
          res.on('data', (chunk: Buffer) => (body += chunk.toString()));
          res.on('end', () => resolve(body));
        });
        req.on('error', reject);
        req.end();
      });
      expect(text).toBe(path);
    }
    agent.destroy();
    expect(proxy.upstreamConnections).toBe(1);
    expect(await proxy.results[0]).toMatchObject({ requests: 50, allowed: 50 });
  });
});
