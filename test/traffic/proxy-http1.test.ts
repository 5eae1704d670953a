import { afterEach, describe, expect, it } from 'vitest';
import { cleanUp, dial, exchange, httpApp, readUntil, startProxy, tcpServer } from './support.js';

afterEach(cleanUp);

const countOf = (text: string, part: string): number => text.split(part).length - 1;

describe('proxyHttp1: requests', () => {
  it('forwards an allowed request and its response byte for byte', async () => {
    let seen = '';
    const answer =
      'HTTP/1.1 200 Fine Indeed\r\nX-One: 1\r\nset-cookie: a=1\r\nX-two: \xe9\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n\r\nhello';
    const upstreamPort = await tcpServer((socket) => {
      socket.on('data', (chunk: Buffer) => {
        seen += chunk.toString('latin1');
        if (seen.endsWith('\r\n\r\n')) socket.write(Buffer.from(answer, 'latin1'));
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const request =
      'GET /a%20b;c?x=%zz&y=1 HTTP/1.1\r\nhOST: shop.example:80\r\nX-A: 1\r\nx-a: 2\r\nConnection: keep-alive\r\nX-B: \xfc\r\n\r\n';
    const { text } = await exchange(proxy.port, request);
    expect(text).toBe(answer);
    expect(seen).toBe(request);
    expect(proxy.facts).toEqual([
      {
        method: 'GET',
        path: '/a%20b;c',
        host: 'shop.example:80',
        rawTarget: '/a%20b;c?x=%zz&y=1',
        headers: { host: 'shop.example:80', 'x-a': ['1', '2'], 'x-b': '\xfc' },
      },
    ]);
    const result = await proxy.results[0];
    expect(result).toMatchObject({ outcome: 'eof', requests: 1, allowed: 1, refused: 0, malformed: 0 });
    expect(result?.receivedBytes).toBe(request.length);
    expect(result?.sentBytes).toBe(answer.length);
  });

  it('judges pipelined requests of one segment each on its own', async () => {
    const paths: string[] = [];
    const upstreamPort = await httpApp((req, res) => {
      paths.push(req.url ?? '');
      res.end(`ok ${req.url ?? ''}`);
    });
    const proxy = await startProxy({ upstreamPort, authorize: ({ path }) => ({ allowed: path.startsWith('/ok') }) });
    const line = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;
    const { text } = await exchange(
      proxy.port,
      line('/ok/1') + line('/no') + line('/ok/2') + line('/no') + line('/ok/3'),
    );
    expect(paths).toEqual(['/ok/1', '/ok/2', '/ok/3']);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(
      [200, 403, 200, 403, 200].map((status) => `HTTP/1.1 ${String(status)}`),
    );
    expect(proxy.upstreamConnections).toBe(1);
    expect(await proxy.results[0]).toMatchObject({ requests: 5, allowed: 3, refused: 2, outcome: 'eof' });
  });

  it('makes no upstream connection for a refused request and keeps the connection', async () => {
    const upstreamPort = await httpApp((_req, res) => res.end('ok'));
    let allowed = false;
    const proxy = await startProxy({ upstreamPort, authorize: () => ({ allowed }) });
    const socket = await dial(proxy.port);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const first = await readUntil(socket, (text) => text.includes('403 Forbidden\n'));
    expect(first).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n/);
    expect(first.toLowerCase()).toContain('content-length: 14');
    expect(proxy.upstreamConnections).toBe(0);
    allowed = true;
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await readUntil(socket, (text) => text.endsWith('0\r\n\r\n') || text.endsWith('ok'))).toContain('200 OK');
    socket.end();
    expect(await proxy.results[0]).toMatchObject({ requests: 2, allowed: 1, refused: 1 });
  });

  it('never takes the unread body of a refused request for the next request', async () => {
    const upstreamPort = await httpApp((_req, res) => res.end('ok'));
    const proxy = await startProxy({ upstreamPort, authorize: ({ method }) => ({ allowed: method === 'GET' }) });
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
    const socket = await dial(proxy.port);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(smuggled.length)}\r\n\r\n`);
    await readUntil(socket, (text) => text.includes('403'));
    socket.write(smuggled);
    expect(await proxy.results[0]).toMatchObject({ requests: 1, refused: 1, outcome: 'eof' });
    const whole = await exchange(
      proxy.port,
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(smuggled.length)}\r\n\r\n${smuggled}${smuggled}`,
    );
    expect(countOf(whole.text, 'HTTP/1.1 403')).toBe(1);
    expect(countOf(whole.text, 'HTTP/1.1 200')).toBe(1);
  });
});
