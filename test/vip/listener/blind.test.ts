/** A kernel without tcp_diag does not say what connections it has. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { socketAddress } from '../../../src/core/index.js';
import { FakeClock } from '../../../src/testing/index.js';
import { VipListener } from '../../../src/vip/index.js';
import { describeRequiring } from '../../support/requirements.js';

const table = vi.hoisted(() => ({ opens: true }));
vi.mock('../../../src/vip/connection-table.js', () => ({
  ConnectionTable: class {
    constructor() {
      if (!table.opens) throw new Error('EPROTONOSUPPORT');
    }
    unfinishedAt = (): Promise<number> => Promise.reject(new Error('ENOENT'));
    [Symbol.dispose] = (): void => undefined;
  },
}));

describeRequiring({ native: true }, 'a VipListener where the kernel does not count connections', () => {
  it.each([
    ['refuses the question', true, 4096],
    ['has no such socket', false, 4097],
  ])('waits for a while after the last one that it knows of: the kernel %s', async (_, opens, port) => {
    table.opens = opens;
    const clock = new FakeClock();
    const listener = await VipListener.listen({
      address: socketAddress('127.0.9.41', port),
      onConnection: ({ socket }) => void socket.pipe(socket),
      clock,
    });
    onTestFinished(() => listener.destroy());
    const client = connect({ host: '127.0.9.41', port });
    client.write('x');
    await once(client, 'data');
    const stop = new AbortController();
    let quiet = false;
    const quiesced = listener.quiesce({ signal: stop.signal }).then(() => (quiet = true));
    await clock.advanceAsync(1_000);
    expect(quiet).toBe(false);
    client.end();
    while (listener.connections > 0) await new Promise((done) => setTimeout(done, 5));
    await clock.advanceAsync(99);
    expect(quiet).toBe(false);
    await clock.advanceAsync(20);
    await quiesced;
    expect(listener.held).toBe(true);
    stop.abort();
    expect([listener.held, clock.pendingTimers]).toEqual([false, 0]);
  });
});
