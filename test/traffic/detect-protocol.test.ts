import { PassThrough } from 'node:stream';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { detectProtocol, http1Refusal } from '../../src/traffic/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { cleanUp, dial, tcpServer, until } from './support.js';

afterEach(cleanUp);

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** What comes in is what goes out. */
function streamOf(...chunks: (string | Buffer)[]): Duplex {
  const stream = new PassThrough();
  for (const chunk of chunks) stream.write(typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk);
  return stream;
}

async function detect(text: string | Buffer, end = false): Promise<string> {
  const clock = new FakeClock();
  const stream = streamOf(text);
  if (end) stream.end();
  const pending = detectProtocol(stream, { timeoutMs: 100, clock });
  const undecided = Symbol('undecided');
  const early = await Promise.race([pending, new Promise((resolve) => setTimeout(() => resolve(undecided), 10))]);
  clock.advance(100);
  const { protocol } = await pending;
  expect(clock.pendingTimers).toBe(0);
  return early === undecided ? `${protocol} after the timeout` : protocol;
}

describe('detectProtocol', () => {
  it.each([
    ['GET / HTTP/1.1\r\n', 'http1'],
    ['GET / HTTP/1.0', 'http1'],
    ['OPTIONS * HTTP/1.1\r\n', 'http1'],
    ['M-SEARCH * HTTP/1.1\r\n', 'http1'],
    ['GET http://a/ HTTP/1.1\r\n', 'http1'],
    ['CONNECT a:443 HTTP/1.1\r\n', 'http1'],
    ['GET /\xe9 HTTP/1.1\r\n', 'http1'],
    [preface, 'http2'],
    [`${preface}\0\0\0\x04`, 'http2'],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 'tls'],
    ['\x16\x03\x03\x00\x05\x01', 'tls'],
    ['\x16\x03\x03\x00\x05\x02', 'opaque'],
    ['\x16\x02', 'opaque'],
    ['\x16\x03\x09', 'opaque'],
    ['\x00', 'opaque'],
    ['x', 'opaque'],
    ['get / HTTP/1.1\r\n', 'opaque'],
    ['FROB / HTTP/1.1\r\n', 'opaque'],
    ['*1\r\n$4\r\nPING\r\n', 'opaque'],
    ['GET key\r\n', 'opaque'],
    ['GET hkey\r\n', 'opaque'],
    ['GET /\r\n', 'opaque'],
    ['GET / HTTP/2.0\r\n', 'opaque'],
    ['GET / SIP/2.0\r\n', 'opaque'],
    ['GET /a\0b HTTP/1.1', 'opaque'],
    ['\r\nGET / HTTP/1.1\r\n', 'opaque'],
    ['SSH-2.0-OpenSSH\r\n', 'opaque'],
    ['PRI * HTTP/2.0\r\n\r\nXX', 'opaque'],
    ['EHLO a\r\n', 'opaque'],
    ['G', 'opaque after the timeout'],
    ['GET', 'opaque after the timeout'],
    ['GET ', 'http1 after the timeout'],
    ['GET /admin', 'http1 after the timeout'],
    ['GET / HT', 'http1 after the timeout'],
    ['PRI * HTTP/2.0', 'opaque after the timeout'],
    ['\x16', 'opaque after the timeout'],
    ['\x16\x03\x01\x02', 'opaque after the timeout'],
    ['', 'silent after the timeout'],
  ])('%j is %s', async (bytes, expected) => {
    expect(await detect(bytes)).toBe(expected);
  });

  it('decides at the end of a stream without waiting', async () => {
    expect(await detect('', true)).toBe('closed');
    expect(await detect('G', true)).toBe('opaque');
    expect(await detect('GET /', true)).toBe('http1');
  });

  it('decides a long request line at its limit', async () => {
    expect(await detect(`GET /${'a'.repeat(20_000)}`)).toBe('http1');
  });

  it('says closed for a stream that is destroyed before or while it waits', async () => {
    const destroyed = streamOf();
    destroyed.destroy();
    expect((await detectProtocol(destroyed, { timeoutMs: 1000 })).protocol).toBe('closed');
    const failing = streamOf();
    const pending = detectProtocol(failing, { timeoutMs: 1000 });
    failing.destroy(new Error('reset'));
    expect((await pending).protocol).toBe('closed');
  });

  it('rejects with the reason of its signal, and bad options with a code', async () => {
    const controller = new AbortController();
    const stream = streamOf('GE');
    const pending = detectProtocol(stream, { timeoutMs: 1000, signal: controller.signal });
    controller.abort(new Error('shutting down'));
    await expect(pending).rejects.toThrow('shutting down');
    expect(String(stream.read())).toBe('GE');
    await expect(detectProtocol(streamOf(), { timeoutMs: 0 })).rejects.toMatchObject({
      code: 'TRAFFIC_OPTION_INVALID',
    });
    await expect(detectProtocol(streamOf(), { timeoutMs: 1, maxBytes: 1 })).rejects.toMatchObject({
      code: 'TRAFFIC_OPTION_INVALID',
    });
  });

  it('gives every byte back, however they are cut, and decides alike', async () => {
    const samples = [
      'GET /a/b?c HTTP/1.1\r\nHost: a\r\n\r\n',
      `${preface}rest`,
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
      '\x01\x02',
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.constantFrom(...samples).map((text) => Buffer.from(text, 'latin1')),
          fc.uint8Array({ minLength: 1, maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
        ),
        fc.array(fc.integer({ min: 1, max: 80 }), { maxLength: 6 }),
        async (bytes, cuts) => {
          const whole = await detectProtocol(endedStream([bytes]), { timeoutMs: 1000 });
          const points = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].sort(
            (a, b) => a - b,
          );
          const parts = points.slice(1).map((point, index) => bytes.subarray(points[index], point));
          const stream = endedStream(parts);
          const cut = await detectProtocol(stream, { timeoutMs: 1000 });
          expect(cut.protocol).toBe(whole.protocol);
          const chunks: Buffer[] = [];
          for await (const chunk of stream) chunks.push(chunk as Buffer);
          expect(Buffer.concat(chunks)).toEqual(bytes);
          expect(bytes.subarray(0, cut.head.length)).toEqual(cut.head);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('leaves a real socket paused with its bytes, and usable afterwards', async () => {
    const received: string[] = [];
    const port = await tcpServer((socket) => {
      socket.pause();
      void detectProtocol(socket, { timeoutMs: 1000 }).then(async ({ protocol }) => {
        received.push(protocol);
        await new Promise((resolve) => setTimeout(resolve, 20));
        socket.on('data', (chunk: Buffer) => received.push(chunk.toString()));
        socket.on('end', () => received.push('end'));
      });
    });
    const client = await dial(port);
    client.write('GE');
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.end('T / HTTP/1.1\r\n\r\n');
    await until(() => received.includes('end'));
    expect(received[0]).toBe('http1');
    expect(received.slice(1, -1).join('')).toBe('GET / HTTP/1.1\r\n\r\n');
  });

  it('is not deceived by its own lateness: what has come is looked at, though the time is over', async () => {
    const accepted = new Promise<Socket>((resolve) => {
      void tcpServer(resolve).then(async (port) => (client = await dial(port)));
    });
    let client: Socket | undefined;
    const socket = await accepted;
    await until(() => client !== undefined);
    // After this the next turn of the event loop begins, with its timers.
    await new Promise((resolve) => setImmediate(resolve));
    const detection = detectProtocol(socket, { timeoutMs: 20 });
    client?.write('GET / HTTP/1.1\r\n\r\n');
    // All of the event loop stands still meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    expect((await detection).protocol).toBe('http1');
  });

  it('calls a server-first connection silent in time', async () => {
    const found: string[] = [];
    const port = await tcpServer((socket) => {
      void detectProtocol(socket, { timeoutMs: 50 }).then(({ protocol }) => found.push(protocol));
    });
    await dial(port);
    await until(() => found.length === 1);
    expect(found).toEqual(['silent']);
  });
});

/** Chunks in turns of the event loop, then the end. */
function endedStream(parts: readonly Buffer[]): Duplex {
  const stream = new PassThrough();
  const next = (index: number): void => {
    const part = parts[index];
    if (part === undefined) stream.end();
    else {
      stream.write(part);
      setImmediate(() => next(index + 1));
    }
  };
  next(0);
  return stream;
}

describe('http1Refusal', () => {
  it('answers an HTTP/1 request with 403 and a close', () => {
    expect(http1Refusal(Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))?.toString()).toBe(
      'HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 14\r\nconnection: close\r\n\r\n403 Forbidden\n',
    );
    expect(http1Refusal(Buffer.from('POST /long'), 503)?.toString()).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/);
  });

  it('sends no body to HEAD', () => {
    expect(http1Refusal(Buffer.from('HEAD / HTTP/1.1\r\n'))?.toString()).toMatch(/connection: close\r\n\r\n$/);
  });

  it('has no answer for anything else', () => {
    for (const head of ['', 'x', preface, '\x16\x03\x01\x02\x00\x01', 'GET key\r\n', 'SSH-2.0']) {
      expect(http1Refusal(Buffer.from(head, 'latin1'))).toBeUndefined();
    }
  });
});
