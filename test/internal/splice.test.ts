import { once } from 'node:events';
import * as net from 'node:net';
import { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { splice } from '../../src/internal/splice.js';

const servers: net.Server[] = [];
const sockets: net.Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** Two ends of one TCP connection. */
async function pair(): Promise<readonly [net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const near = net.connect({
    port: (server.address() as net.AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  for (const socket of [near, far]) {
    socket.on('error', () => undefined);
    sockets.push(socket);
  }
  return [near, far];
}

async function readAll(stream: Duplex): Promise<Buffer> {
  // Not `for await`, which destroys the stream when it has ended, and with it the other direction.
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await finished(stream, { writable: false });
  return Buffer.concat(chunks);
}

describe('splice', () => {
  test('passes bytes and ends both ways, counts them, and closes', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    let counted = 0;
    const result = splice(a, b, { onBytes: (direction, bytes) => (counted += direction === 'aToB' ? bytes : 0) });
    const request = randomBytes(3_000_000);
    client.end(request);
    expect((await readAll(server)).equals(request)).toBe(true);
    server.end('answered after the end of the request');
    expect((await readAll(client)).toString()).toBe('answered after the end of the request');
    expect(await result).toEqual({ aToBBytes: 3_000_000, bToABytes: 37, outcome: 'eof', error: undefined });
    expect(counted).toBe(3_000_000);
    expect(a.listenerCount('data')).toBe(1);
  });

  test('holds back a sender whose receiver is slow', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    let passed = 0;
    const result = splice(a, b, { onBytes: (_direction, bytes) => (passed += bytes) });
    server.pause();
    client.write(Buffer.alloc(64 << 20));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(passed).toBeLessThan(32 << 20);
    expect(b.writableLength).toBeLessThan(1 << 20);
    server.destroy();
    expect((await result).outcome).toBe('reset');
  });

  test('a reset on one side is a reset on the other', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    const result = splice(a, b);
    client.write('half');
    await once(server, 'data');
    let ended = false;
    server.on('end', () => (ended = true));
    const failed = once(server, 'error') as Promise<[NodeJS.ErrnoException]>;
    client.resetAndDestroy();
    expect((await result).outcome).toBe('reset');
    expect((await result).error).toMatchObject({ code: 'ECONNRESET' });
    expect((await failed.catch((error: unknown) => [error]))[0]).toMatchObject({ code: 'ECONNRESET' });
    expect(ended).toBe(false);
    expect([a.destroyed, b.destroyed]).toEqual([true, true]);
  });

  test('a reset after one direction has ended is still a reset', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    const result = splice(a, b);
    client.end('request');
    await readAll(server);
    server.write('half an answer');
    await once(client, 'data');
    server.resetAndDestroy();
    expect((await result).outcome).toBe('reset');
  });

  test('another error is an error', async () => {
    const [, a] = await pair();
    const [b] = await pair();
    const result = splice(a, b);
    a.destroy(new Error('a bug'));
    expect(await result).toMatchObject({ outcome: 'error', error: { message: 'a bug' } });
    expect(b.destroyed).toBe(true);
  });

  test('an abort cuts both', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    const abort = new AbortController();
    const result = splice(a, b, { signal: abort.signal });
    client.write('x');
    await once(server, 'data');
    abort.abort(new Error('no longer allowed'));
    expect(await result).toMatchObject({ outcome: 'aborted', error: { message: 'no longer allowed' }, aToBBytes: 1 });
    expect([a.destroyed, b.destroyed]).toEqual([true, true]);
  });

  test('aborted or cut off before it begins', async () => {
    const [, a] = await pair();
    const [b] = await pair();
    expect((await splice(a, b, { signal: AbortSignal.abort(new Error('too late')) })).outcome).toBe('aborted');
    expect([a.destroyed, b.destroyed]).toEqual([true, true]);
    const [, c] = await pair();
    expect((await splice(c, a)).outcome).toBe('reset');
    expect(c.destroyed).toBe(true);
  });

  test('one that ended before it begins still gets its answer', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    client.end();
    a.resume();
    await once(a, 'end');
    const result = splice(a, b);
    server.end('answer');
    await readAll(server);
    expect((await readAll(client)).toString()).toBe('answer');
    expect((await result).outcome).toBe('eof');
  });

  test('a stream that only closes is not an end', async () => {
    const silent = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
    const [, b] = await pair();
    const result = splice(silent, b);
    silent.destroy();
    expect((await result).outcome).toBe('reset');
  });

  test('takes over a stream that was paused with bytes waiting', async () => {
    const [client, a] = await pair();
    const [b, server] = await pair();
    a.pause();
    client.end('waiting');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const result = splice(a, b);
    expect((await readAll(server)).toString()).toBe('waiting');
    server.end();
    client.resume();
    expect((await result).outcome).toBe('eof');
  });
});
