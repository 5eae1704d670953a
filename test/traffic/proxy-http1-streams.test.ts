import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { cleanUp, dial, exchange, httpApp, readAll, readUntil, startProxy, tcpServer, until } from './support.js';

afterEach(cleanUp);

const get = (path = '/', more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

/** An application that answers each head it is sent with the next of `answers`, byte for byte. */
async function scripted(...answers: string[]): Promise<{ port: number; seen: string[]; sockets: Socket[] }> {
  const seen: string[] = [];
  const sockets: Socket[] = [];
  const port = await tcpServer((socket) => {
    sockets.push(socket);
    let text = '';
    socket.on('end', () => socket.end());
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!text.includes('\r\n\r\n')) return;
      seen.push(text);
      text = '';
      const answer = answers.shift();
      if (answer !== undefined) socket.write(Buffer.from(answer, 'latin1'));
    });
  });
  return { port, seen, sockets };
}

/** What `ending` gives. A connection that ends lingers for a time, here of 0 ms, once its last words are out. */
async function lingering<T>(clock: FakeClock, ending: Promise<T>): Promise<T> {
  let over = false;
  const result = ending.finally(() => (over = true));
  result.catch(() => undefined);
  await until(() => {
    clock.advance(0);
    return over;
  });
  return result;
}

describe('proxyHttp1: bodies', () => {
  it('streams megabytes both ways unchanged', async () => {
    const body = randomBytes(5_000_000);
    const upstreamPort = await httpApp((req, res) => {
      res.writeHead(200, { 'content-length': req.headers['content-length'] });
      req.pipe(res);
    });
    const proxy = await startProxy({ upstreamPort });
    const socket = await dial(proxy.port);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(body.length)}\r\n\r\n`);
    socket.end(body);
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    const whole = Buffer.concat(chunks);
    const received = whole.subarray(whole.indexOf('\r\n\r\n') + 4);
    const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(hash(received)).toBe(hash(body));
  });

  it('holds back a client whose upload the application does not read', async () => {
    const sockets: Socket[] = [];
    const upstreamPort = await tcpServer((socket) => sockets.push(socket));
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n');
    let sent = 0;
    const chunk = Buffer.alloc(1_000_000);
    while (sent < 60 && client.write(chunk)) sent += 1;
    for (; sent < 60; sent += 1) {
      const drained = await Promise.race([
        once(client, 'drain').then(() => true),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
      ]);
      if (!drained) break;
      client.write(chunk);
    }
    expect(sent).toBeLessThan(60);
    expect(sockets).toHaveLength(1);
  });

  it('preserves chunks, extensions aside, and trailers both ways', async () => {
    let trailers: string[] = [];
    let body = '';
    const upstreamPort = await httpApp((req, res) => {
      req.on('data', (chunk: Buffer) => (body += chunk.toString()));
      req.on('end', () => {
        trailers = req.rawTrailers;
        res.writeHead(200, { Trailer: 'X-Sum' });
        res.write('one');
        res.addTrailers([
          ['X-Sum', '42'],
          ['X-Sum', '43'],
        ] as never);
        res.end('two');
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(
      proxy.port,
      'POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Check: a\r\nx-check: b\r\n\r\n',
    );
    expect(body).toBe('hello!');
    expect(trailers).toEqual(['X-Check', 'a', 'x-check', 'b']);
    expect(text).toContain('Trailer: X-Sum\r\n');
    expect(text).toMatch(/0\r\nX-Sum: 42\r\nX-Sum: 43\r\n\r\n$/);
  });

  it.each([
    ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: "x"\r\n\r\n'],
    ['HEAD of a chunked resource', 'HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['204', 'GET', 'HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n'],
    ['304', 'GET', 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n'],
    ['a length of zero', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['an empty reason', 'GET', 'HTTP/1.1 299 \r\nContent-Length: 1\r\n\r\nx'],
    ['chunked', 'GET', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
    [
      'an event stream',
      'GET',
      'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 6\r\n\r\ndata\n\n',
    ],
  ])('passes a response on byte for byte: %s', async (_name, method, answer) => {
    const app = await scripted(answer, answer);
    const proxy = await startProxy({ upstreamPort: app.port });
    const request = `${method} / HTTP/1.1\r\nHost: a\r\n\r\n`;
    const { text } = await exchange(proxy.port, request + request);
    expect(text).toBe(answer + answer);
    expect(proxy.upstreamConnections).toBe(1);
  });

  it('makes a response that ends with the connection chunked, so that its end is told from a cut', async () => {
    const app = await scripted();
    const proxy = await startProxy({ upstreamPort: app.port });
    const client = await dial(proxy.port);
    client.write(get());
    await until(() => app.seen.length === 1);
    app.sockets[0]?.end('HTTP/1.1 200 OK\r\nX: 1\r\n\r\nall of it');
    const text = await readUntil(client, (all) => all.endsWith('0\r\n\r\n'));
    expect(text).toBe('HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nall of it\r\n0\r\n\r\n');
  });

  it('answers HTTP/1.0 without chunks and closes', async () => {
    const app = await scripted('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
    const proxy = await startProxy({ upstreamPort: app.port });
    const client = await dial(proxy.port);
    client.write('GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
    const { text } = await readAll(client);
    expect(text).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc');
  });

  it('gives a POST without framing a length of zero and no chunks', async () => {
    const app = await scripted('HTTP/1.1 204 No Content\r\n\r\n');
    const proxy = await startProxy({ upstreamPort: app.port });
    await exchange(proxy.port, 'POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n');
    expect(app.seen[0]).toBe('POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n');
  });

  it('drops fields of the connection, and what Connection names', async () => {
    const app = await scripted(
      'HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n',
    );
    const proxy = await startProxy({ upstreamPort: app.port });
    const { text } = await exchange(
      proxy.port,
      get(
        '/',
        'X-End: 1\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 2\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: gzip\r\n',
      ),
    );
    expect(app.seen[0]).toBe('GET / HTTP/1.1\r\nHost: a\r\nX-End: 1\r\nConnection: keep-alive\r\n\r\n');
    expect(Object.keys(proxy.facts[0]?.headers ?? {})).toEqual(['host', 'x-end']);
    expect(text).toBe('HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n');
  });

  it('ignores an offered upgrade to h2c and serves the request', async () => {
    const app = await scripted('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    const proxy = await startProxy({ upstreamPort: app.port });
    const { text } = await exchange(
      proxy.port,
      get('/', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n'),
    );
    expect(text).toContain('200 OK');
    expect(app.seen[0]?.toLowerCase()).not.toMatch(/upgrade|h2c|http2-settings/);
  });

  it('closes when either side says so', async () => {
    const app = await scripted('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx');
    const proxy = await startProxy({ upstreamPort: app.port });
    const client = await dial(proxy.port);
    client.write(get());
    expect((await readAll(client)).text).toBe('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx');
    client.destroy();

    const other = await scripted('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx');
    const closing = await startProxy({ upstreamPort: other.port });
    const second = await dial(closing.port);
    second.write(get('/', 'Connection: close\r\n'));
    expect((await readAll(second)).text).toMatch(/x$/);
    expect(other.seen[0]).toContain('Connection: close\r\n');
    expect((await closing.results[0])?.outcome).toBe('eof');
  });

  it('serves a client that ends its side right after its request', async () => {
    const app = await scripted();
    const proxy = await startProxy({ upstreamPort: app.port });
    const client = await dial(proxy.port);
    client.end(get());
    await until(() => app.seen.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    app.sockets[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate');
    expect((await readAll(client)).text).toMatch(/late$/);
    expect((await proxy.results[0])?.outcome).toBe('eof');
  });
});

describe('proxyHttp1: interim responses', () => {
  it('passes 100 Continue through before the body is sent', async () => {
    const upstreamPort = await httpApp(
      (_req, res) => res.end('unexpected'),
      (server) => {
        server.on('checkContinue', (req, res) => {
          res.writeContinue();
          let body = '';
          req.on('data', (chunk: Buffer) => (body += chunk.toString()));
          req.on('end', () => res.end(`got ${body}`));
        });
      },
    );
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    expect(await readUntil(client, (text) => text.includes('\r\n\r\n'))).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.end('body');
    expect((await readAll(client)).text).toContain('got body');
  });

  it('refuses a request with Expect at once, without reading its body, and closes', async () => {
    const proxy = await startProxy({ authorize: () => ({ allowed: false }) });
    const client = await dial(proxy.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    const { text } = await readAll(client);
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(text).toContain('Connection: close');
  });

  it('passes 103 on with its fields, and drops a 100 nobody asked for', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b.css>\r\n\r\n';
    const app = await scripted(`HTTP/1.1 100 Continue\r\n\r\n${hints}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx`);
    const proxy = await startProxy({ upstreamPort: app.port });
    const { text } = await exchange(proxy.port, get());
    expect(text).toBe(`${hints}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx`);
  });
});

describe('proxyHttp1: failures', () => {
  it('answers 503 when the application cannot be reached, and tries again for the next request', async () => {
    const app = await scripted('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx');
    let up = false;
    const proxy = await startProxy({
      connectUpstream: async () => {
        if (!up) throw new Error('connect ECONNREFUSED');
        return dial(app.port);
      },
    });
    const client = await dial(proxy.port);
    client.write(get());
    expect(await readUntil(client, (text) => text.endsWith('\n'))).toMatch(/^HTTP\/1\.1 503 /);
    expect(proxy.events[0]).toMatchObject({ outcome: 'upstream-failed', status: 503, allowed: true });
    up = true;
    client.end(get());
    expect((await readAll(client)).text).toMatch(/200 OK/);
  });

  it.each([
    ['closes without a byte', (socket: Socket) => socket.end()],
    ['resets without a byte', (socket: Socket) => socket.resetAndDestroy()],
    ['sends garbage', (socket: Socket) => socket.write('garbage\r\n\r\n')],
    [
      'sends both framings',
      (socket: Socket) =>
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    ],
    [
      'sends two lengths',
      (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx'),
    ],
    [
      'switches protocols unasked',
      (socket: Socket) =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'),
    ],
    [
      'sends an enormous header',
      (socket: Socket) => socket.write(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`),
    ],
    ['sends too many fields', (socket: Socket) => socket.write(`HTTP/1.1 200 OK\r\n${'x: 1\r\n'.repeat(1000)}\r\n`)],
  ])('answers 502 when the application %s', async (_name, answer) => {
    const upstreamPort = await tcpServer((socket) => socket.once('data', () => answer(socket)));
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(proxy.port, get());
    expect(text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
    expect(proxy.events[0]).toMatchObject({ outcome: 'upstream-failed', status: 502 });
  });

  it.each([
    ['a body with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', false],
    ['a chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', false],
    ['a body that ends with the connection, reset', 'HTTP/1.1 200 OK\r\n\r\nabc', true],
  ])('resets the client when a response is cut short: %s', async (_name, part, reset) => {
    let upstream: Socket | undefined;
    const upstreamPort = await tcpServer((socket) => {
      upstream = socket;
      socket.once('data', () => socket.write(part));
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write(get());
    await readUntil(client, (text) => text.includes('abc'));
    const ending = readAll(client);
    if (reset) upstream?.resetAndDestroy();
    else upstream?.end();
    const result = await ending;
    expect(result.reset).toBe(true);
    expect(result.text).not.toMatch(/0\r\n\r\n$/);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'error' });
    expect(proxy.events[0]).toMatchObject({ outcome: 'upstream-failed', status: 200 });
  });

  it('resets the application when the client goes away in the middle of an upload', async () => {
    let aborted = false;
    let complete = false;
    const upstreamPort = await httpApp((req, res) => {
      req.resume();
      req.on('error', () => (aborted = true));
      req.on('end', () => {
        complete = true;
        res.end();
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc');
    await until(() => proxy.upstreamConnections === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.resetAndDestroy();
    await until(() => aborted);
    expect(complete).toBe(false);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'reset' });
    expect(proxy.events[0]).toMatchObject({ outcome: 'aborted' });
  });

  it('resets the application when the client goes away in the middle of a download', async () => {
    let closed = false;
    const upstreamPort = await httpApp((_req, res) => {
      res.on('close', () => (closed = true));
      res.write('some');
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write(get());
    await readUntil(client, (text) => text.includes('some'));
    client.resetAndDestroy();
    await until(() => closed);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'reset' });
  });

  it('connects anew when the application closed between requests', async () => {
    const ports: Socket[] = [];
    const upstreamPort = await tcpServer((socket) => {
      ports.push(socket);
      socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx'));
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    for (let index = 0; index < 3; index += 1) {
      client.write(get());
      expect(await readUntil(client, (text) => text.endsWith('x'))).toMatch(/200 OK/);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(ports).toHaveLength(3);
  });

  it('repeats a GET that hit a kept connection just as it was closed, never a POST', async () => {
    let connections = 0;
    const upstreamPort = await tcpServer((socket) => {
      connections += 1;
      let requests = 0;
      socket.on('data', () => {
        requests += 1;
        if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx');
        else socket.resetAndDestroy();
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(proxy.port, get() + get());
    expect(text.match(/200 OK/g)).toHaveLength(2);
    expect(connections).toBe(2);
    const posts = await exchange(proxy.port, `${get()}POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`);
    expect(posts.text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 502']);
  });

  it('does not take bytes that come unasked for the next response', async () => {
    const poisoned = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
    const sockets: Socket[] = [];
    const upstreamPort = await tcpServer((socket) => {
      sockets.push(socket);
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood'));
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write(get());
    await readUntil(client, (text) => text.endsWith('good'));
    await new Promise((resolve) => setTimeout(resolve, 20));
    sockets[0]?.write(poisoned);
    await new Promise((resolve) => setTimeout(resolve, 50));
    client.write(get());
    expect(await readUntil(client, (text) => text.endsWith('good') || text.includes('poison'))).not.toContain('poison');
    expect(sockets).toHaveLength(2);
  });

  it('relays an early answer to an upload and does not reuse the connection wrongly', async () => {
    const upstreamPort = await httpApp((req, res) => {
      if (req.method === 'GET') res.end('ok');
      else {
        res.writeHead(413, { connection: 'close' });
        res.end('too much');
      }
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc');
    const { text } = await readAll(client);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(await proxy.results[0]).toMatchObject({ requests: 1 });
  });

  it('ends at once on its signal', async () => {
    const controller = new AbortController();
    const upstreamPort = await httpApp(() => undefined);
    const proxy = await startProxy({ upstreamPort, signal: controller.signal });
    const client = await dial(proxy.port);
    client.write(get());
    await until(() => proxy.upstreamConnections === 1);
    controller.abort(new Error('policy changed'));
    expect((await readAll(client)).reset).toBe(true);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'aborted' });
  });
});

describe('proxyHttp1: bounds', () => {
  it('answers 408 to half a head, closes an idle connection, and cuts a stalled body', async () => {
    const clock = new FakeClock();
    const upstreamPort = await httpApp((req, res) => {
      req.on('error', () => undefined);
      req.resume().on('end', () => res.end('ok'));
    });
    const limits = { headTimeoutMs: 1000, idleTimeoutMs: 5000, bodyStallTimeoutMs: 2000, lingerMs: 0 };
    const proxy = await startProxy({ upstreamPort, clock, limits });

    const slow = await dial(proxy.port);
    slow.write('GET / HTTP/1.1\r\nHo');
    await until(() => clock.nextTimerMs === 1000);
    clock.advance(500);
    slow.write('st: a\r\n');
    await new Promise((resolve) => setTimeout(resolve, 30));
    const slowEnd = readAll(slow);
    clock.advance(500);
    expect((await lingering(clock, slowEnd)).text).toMatch(/^HTTP\/1\.1 408 /);
    await proxy.results[0];

    const idle = await dial(proxy.port);
    idle.write(get());
    await readUntil(idle, (text) => text.endsWith('ok'));
    await until(() => clock.nextTimerMs === 5000);
    const idleEnd = readAll(idle);
    clock.advance(5000);
    expect((await lingering(clock, idleEnd)).text).toBe('');
    await proxy.results[1];

    const stalled = await dial(proxy.port);
    stalled.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
    await until(() => clock.nextTimerMs === 2000);
    const stalledEnd = readAll(stalled);
    clock.advance(2000);
    expect((await lingering(clock, stalledEnd)).text).toMatch(/^HTTP\/1\.1 408 /);
    await proxy.results[2];
    expect(clock.pendingTimers).toBe(0);
  });

  it('reads no further while too many requests wait', async () => {
    const upstreamPort = await tcpServer(() => undefined);
    const proxy = await startProxy({ upstreamPort, limits: { maxPipelined: 4 } });
    const client = await dial(proxy.port);
    const flood = Buffer.from(get().repeat(2000));
    let written = 0;
    while (written < 200 && client.write(flood)) written += 1;
    for (; written < 200; written += 1) {
      const drained = await Promise.race([
        once(client, 'drain').then(() => true),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 300)),
      ]);
      if (!drained) break;
      client.write(flood);
    }
    expect(written).toBeLessThan(200);
    expect(proxy.facts).toHaveLength(1);
  });

  it('keeps a limit out of bounds from starting', async () => {
    const { proxyHttp1 } = await import('../../src/traffic/index.js');
    const socket = await dial(await tcpServer(() => undefined));
    const options = {
      downstream: socket,
      connectUpstream: () => Promise.reject(new Error('no')),
      authorize: () => ({ allowed: true }) as const,
    };
    await expect(proxyHttp1({ ...options, limits: { maxHeaders: 0 } })).rejects.toMatchObject({
      code: 'TRAFFIC_OPTION_INVALID',
    });
    await expect(proxyHttp1({ ...options, limits: { headTimeoutMs: 1.5 } })).rejects.toMatchObject({
      code: 'TRAFFIC_OPTION_INVALID',
    });
  });
});
