import { once } from 'node:events';
import * as net from 'node:net';
import { readdirSync, readlinkSync } from 'node:fs';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { resetSocket } from '../../src/internal/reset-socket.js';
import { splice } from '../../src/internal/splice.js';

const servers: net.Server[] = [];
// With its connections, so that none is left for the next test to count.
afterEach(() => Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve)))));

async function pair(): Promise<readonly [net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  for (const socket of [near, far]) socket.on('error', () => undefined);
  return [near, far];
}

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

describe('resetSocket', () => {
  test('resets an open connection: the far end sees no end', async () => {
    const [near, far] = await pair();
    const ended = new Promise<string>((resolve) => {
      far.once('end', () => resolve('end'));
      far.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    });
    far.resume();
    resetSocket(near);
    expect(near.destroyed).toBe(true);
    expect(await ended).toBe('ECONNRESET');
  });

  test.skipIf(process.platform !== 'linux')('closes a connection whose end is not flushed yet', async () => {
    const before = openSockets();
    for (const bytes of [0, 10, 30_000_000]) {
      const [near, far] = await pair();
      far.pause();
      near.end(Buffer.alloc(bytes));
      const errors: unknown[] = [];
      near.on('error', (error) => errors.push(error));
      const closed = once(near, 'close');
      resetSocket(near);
      await closed;
      expect(errors).toEqual([]);
      far.destroy();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const server of servers.splice(0)) server.close();
    await expect.poll(openSockets).toBe(before);
  });

  test('destroys a connection that is not there yet, one that is gone, and other streams', async () => {
    const connecting = net.connect({ port: 9, host: '192.0.2.1' });
    connecting.on('error', () => undefined);
    resetSocket(connecting);
    expect(connecting.destroyed).toBe(true);
    resetSocket(connecting);

    const other = new PassThrough();
    const failed = once(other, 'error');
    resetSocket(other, new Error('cut'));
    expect(String(await failed)).toContain('cut');
  });
});

describe('splice', () => {
  test('ends a direction only when what came before is flushed, so that it can still be reset', async () => {
    const release: (() => void)[] = [];
    const slow = new Duplex({
      allowHalfOpen: true,
      read: () => undefined,
      write: (_chunk, _encoding, done) => void release.push(done),
    });
    const from = new PassThrough();
    const stop = new AbortController();
    const result = splice(from, slow, { signal: stop.signal });
    from.end('the last words');
    await expect.poll(() => release.length).toBe(1);
    await expect.poll(() => from.readableEnded).toBe(true);
    expect(slow.writableEnded).toBe(false);
    for (let done = release.shift(); done !== undefined; done = release.shift()) {
      done();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => slow.writableFinished).toBe(true);
    stop.abort(new Error('over'));
    expect((await result).aToBBytes).toBe(14);
  });
});
