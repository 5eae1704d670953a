/** The service with its thread, over loopback: two addresses of one machine, TTL 255 and all, and no root. */
import { createSocket } from 'node:dgram';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, test, vi } from 'vitest';
import { encodeBfdPacket } from '../../../src/vip/bfd/packet.js';
import { BfdService } from '../../../src/vip/bfd/index.js';
import type { BfdEvent, BfdStatus } from '../../../src/vip/bfd/index.js';
import { findWorker } from '../../../src/vip/bfd/worker-location.js';
import { describeRequiring } from '../../support/requirements.js';
import { until } from '../peers/until.js';
import { samplePacket } from './corpus.js';

// Threads start slowly where the machine has much else to do.
vi.setConfig({ testTimeout: 60_000 });

const fast = { txIntervalMs: 100, rxIntervalMs: 100, multiplier: 3, mode: 'single-hop' } as const;
/** As quick, but a thread that a busy machine leaves waiting for half a second takes nothing down. */
const steady = { ...fast, multiplier: 10 } as const;
const blockMainThread = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** Each test has addresses of its own: files of tests run at the same time. */
const addresses = (block: number): { a: string; b: string } => ({
  a: `127.84.${String(block)}.1`,
  b: `127.84.${String(block)}.2`,
});

describeRequiring({ native: true }, 'BfdService', () => {
  test('brings two ends up, and a good-bye is no failure', async () => {
    const { a, b } = addresses(1);
    const events: BfdEvent[] = [];
    await using left = await BfdService.create({ observer: (event) => events.push(event) });
    await using right = await BfdService.create();
    const changes: BfdStatus[] = [];
    const near = left.add({ peer: b, local: a, ...steady, onChange: (status) => changes.push(status) });
    const far = right.add({ peer: a, local: b, ...steady });
    await until('both are up', () => near.state === 'up' && far.state === 'up' && near.status.detectionTimeMs === 1000);
    expect(near.status.remoteDiscriminator).toBe(far.status.localDiscriminator);
    expect(left.sessions).toEqual([near]);

    await far.close();
    await until('it is down', () => near.state === 'down', { everyMs: 5 });
    expect(near.status).toMatchObject({ diagnostic: 'neighbour-signalled-down', remoteState: 'admin-down' });
    expect(right.sessions).toEqual([]);
    const states = events.map((event) => (event.type === 'vip.bfd-state' ? event.status.state : event.type));
    expect(states.slice(states.indexOf('up'))).toEqual(['up', 'down']);
    expect(changes.at(-1)).toBe(near.status);
  });

  test('keeps a session up while the main thread is blocked for two seconds', async () => {
    const { a, b } = addresses(2);
    await using left = await BfdService.create();
    await using right = await BfdService.create();
    const downs: string[] = [];
    const note = ({ state }: BfdStatus): void => void (state === 'up' || downs.push(state));
    const near = left.add({ peer: b, local: a, ...steady, onChange: note });
    const far = right.add({ peer: a, local: b, ...steady, onChange: note });
    await until('both are up', () =>
      [near, far].every(({ state, status }) => state === 'up' && status.detectionTimeMs === 1000),
    );
    downs.length = 0;
    // Twice the detection time, and what came meanwhile is heard after it.
    blockMainThread(2000);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(downs).toEqual([]);
    expect([near.state, far.state]).toEqual(['up', 'up']);
  });

  test('changes timers without a flap', async () => {
    const { a, b } = addresses(3);
    await using left = await BfdService.create();
    await using right = await BfdService.create();
    const downs: string[] = [];
    const note = ({ state }: BfdStatus): void => void (state === 'up' || downs.push(state));
    const near = left.add({ peer: b, local: a, ...steady, onChange: note });
    const far = right.add({ peer: a, local: b, ...steady, onChange: note });
    await until('both are up', () => near.state === 'up' && far.state === 'up');
    downs.length = 0;
    near.changeTimers({ txIntervalMs: 50, rxIntervalMs: 50, multiplier: 20 });
    far.changeTimers({ txIntervalMs: 50, rxIntervalMs: 50, multiplier: 10 });
    await until('both agree', () => near.status.detectionTimeMs === 500 && far.status.detectionTimeMs === 1000);
    expect(downs).toEqual([]);
    expect([near.state, far.state]).toEqual(['up', 'up']);
    expect(() => near.changeTimers({ multiplier: 0 })).toThrow(
      expect.objectContaining({ code: 'CORE_OPTION_INVALID' }),
    );
  });

  test.each([4, 6] as const)(
    'drops IPv%i packets with a TTL below 255 in the kernel, and counts them',
    async (family) => {
      const { a, b } = family === 4 ? addresses(4) : { a: '::1', b: 'fd00::2' };
      await using bfd = await BfdService.create();
      const states: string[] = [];
      const session = bfd.add({ peer: b, local: a, ...fast, onChange: ({ state }) => states.push(state) });
      await until('it listens', () => session.status.localDiscriminator !== 0 && session.status.problem === undefined);
      const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
      await new Promise<void>((resolve) => socket.bind(0, family === 4 ? b : '::1', resolve));
      const yourDiscriminator = session.status.localDiscriminator;
      const send = async (ttl: number): Promise<void> => {
        socket.setTTL(ttl);
        const bytes = encodeBfdPacket({ ...samplePacket, state: 'init', yourDiscriminator });
        await new Promise((resolve) => socket.send(bytes, 3784, a, resolve));
      };
      await send(254);
      await until('the kernel has counted it', () => bfd.refusals.filtered === 1);
      expect(states).not.toContain('up');
      await send(255);
      // It was, though not for long: nothing follows that packet.
      if (family === 4) await until('it is up', () => states.includes('up'));
      // Here the sender is the machine itself, which is not the peer.
      else await until('the sender is wrong', () => bfd.refusals['address-mismatch'] === 1);
      socket.close();
    },
  );

  test('says what keeps it from an address', async () => {
    const { a, b } = addresses(5);
    await using bfd = await BfdService.create();
    const absent = bfd.add({ peer: '198.51.100.1', local: '198.51.100.2' });
    await until('it says so', () => absent.status.problem);
    expect(absent.status.problem).toMatch(/no BFD socket on 198\.51\.100\.2: this machine has no such address/);
    const noDevice = bfd.add({ peer: b, local: a, interface: 'nosuchdevice0' });
    await until('it says so', () => noDevice.status.problem);
    expect(noDevice.status.problem).toMatch(/no such interface/);

    await using other = await BfdService.create();
    const [first, second] = addressPairs(6);
    // Each service has a thread of its own: only once the first has its socket is the other one late.
    const early = bfd.add({ ...fast, ...first });
    await until('it listens', () => early.status.localDiscriminator !== 0 && early.status.problem === undefined);
    const late = other.add({ ...fast, ...second });
    await until('it says so', () => late.status.problem);
    expect(late.status.problem).toMatch(/the port is taken, probably by another BFD program/);
  });

  test('refuses options that cannot be meant', async () => {
    const { a, b } = addresses(7);
    const bfd = await BfdService.create();
    const refused = (options: object, code: string): void =>
      expect(() => bfd.add({ peer: b, local: a, ...options })).toThrow(expect.objectContaining({ code }));
    refused({ peer: 'host' }, 'CORE_ADDRESS_MALFORMED');
    refused({ peer: 'fd00::1' }, 'VIP_CONFIGURATION_INVALID');
    refused({ peer: a }, 'VIP_CONFIGURATION_INVALID');
    refused({ peer: 'fe80::1', local: 'fe80::2' }, 'VIP_CONFIGURATION_INVALID');
    refused({ mode: 'both' }, 'CORE_OPTION_INVALID');
    refused({ interface: 'a name with spaces' }, 'CORE_OPTION_INVALID');
    for (const option of ['txIntervalMs', 'rxIntervalMs']) {
      for (const value of [9, 60_001, 100.5, Number.NaN]) refused({ [option]: value }, 'CORE_OPTION_INVALID');
    }
    for (const value of [0, 256]) refused({ multiplier: value }, 'CORE_OPTION_INVALID');
    for (const value of [0, 256]) refused({ minTtl: value }, 'CORE_OPTION_INVALID');
    bfd.add({ peer: b, local: a, mode: 'single-hop' });
    refused({ mode: 'auto' }, 'VIP_CONFIGURATION_INVALID');
    // On another port it is another session.
    bfd.add({ peer: b, local: a, mode: 'multihop' });
    await bfd.close();
    refused({}, 'CORE_CLOSED');
    await bfd.close();
  });

  test('starts a thread that died again, and says so meanwhile', async () => {
    const { a, b } = addresses(8);
    const events: BfdEvent[] = [];
    const worker = new URL('./dying-worker.mjs', import.meta.url);
    await using left = await BfdService.create({ worker, observer: (event) => events.push(event) });
    await using right = await BfdService.create();
    const problems: (string | undefined)[] = [];
    const near = left.add({ peer: b, local: a, ...fast, onChange: ({ problem }) => problems.push(problem) });
    const far = right.add({ peer: a, local: b, ...fast });
    await until('both are up', () => near.state === 'up' && far.state === 'up');
    const threadBefore = left.threadId;

    // One that is closed meanwhile does not wait for the dead.
    const doomed = left.add({ peer: '127.84.8.3', local: a, ...fast });
    doomed.changeTimers({ ...fast, multiplier: 99 });
    await Promise.all([doomed.close(), until('it is down', () => near.state === 'down', { everyMs: 1 })]);
    expect(events).toContainEqual({ type: 'vip.bfd-worker-failed', error: 'asked to die' });
    expect(problems).toContain('the BFD thread ended: asked to die');
    await until('both are up again', () => near.state === 'up' && far.state === 'up');
    expect(near.status.problem).toBeUndefined();
    expect(left.threadId).not.toBe(threadBefore);
    expect(left.sessions).toEqual([near]);
  });

  test('can be destroyed, and then leaves no thread and no socket', async () => {
    const { a, b } = addresses(9);
    const bfd = await BfdService.create();
    const session = bfd.add({ peer: b, local: a, ...fast });
    await until('it listens', () => session.status.localDiscriminator !== 0);
    bfd.destroy();
    await bfd.close();
    await session.close();
    // The port is free.
    await using other = await BfdService.create();
    await until('the port is free', async () => {
      const again = other.add({ peer: b, local: a, ...fast });
      await until('it knows', () => again.status.localDiscriminator !== 0);
      if (again.status.problem === undefined) return true;
      await again.close();
      return false;
    });
  });

  test('may be closed while its thread is being started again', async () => {
    const bfd = await BfdService.create({ worker: new URL('./dying-worker.mjs', import.meta.url) });
    const session = bfd.add({ peer: '127.84.10.2', local: '127.84.10.1' });
    session.changeTimers({ multiplier: 99 });
    await until('it died', () => bfd.threadId === undefined, { everyMs: 1 });
    await bfd.close();
    expect(bfd.threadId).toBeUndefined();

    // Later still: the next one has been started, and is not ready.
    const other = await BfdService.create({ worker: new URL('./dying-worker.mjs', import.meta.url) });
    other.add({ peer: '127.84.10.2', local: '127.84.10.1' }).changeTimers({ multiplier: 99 });
    await until('it died', () => other.threadId === undefined, { everyMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 60));
    await other.close();
    expect(other.threadId).toBeUndefined();
  });
});

function addressPairs(block: number): readonly [{ peer: string; local: string }, { peer: string; local: string }] {
  const { a, b } = addresses(block);
  return [
    { peer: b, local: a },
    { peer: `127.84.${String(block)}.3`, local: a },
  ];
}

describeRequiring({ native: true }, 'where the thread’s program is', () => {
  const scratch = (): { readonly path: string; [Symbol.dispose](): void } => {
    const path = mkdtempSync(join(tmpdir(), 'meshwright-bfd-'));
    return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
  };

  test('beside the sources, for sources', () => {
    expect(findWorker()).toEqual({ code: expect.stringContaining('/src/vip/bfd/worker.ts') as string });
  });

  test('nowhere, for a package that was bundled into another file: said in words', () => {
    using folder = scratch();
    const bundle = pathToFileURL(join(folder.path, 'bundle.js')).href;
    expect(() => findWorker(bundle)).toThrow(
      expect.objectContaining({ code: 'VIP_BFD_WORKER_MISSING', message: expect.stringMatching(/bundled/) as string }),
    );
  });

  test('where the caller says, or a clear error', async () => {
    using folder = scratch();
    const absent = join(folder.path, 'worker.js');
    await expect(BfdService.create({ worker: absent })).rejects.toMatchObject({
      code: 'VIP_BFD_WORKER_MISSING',
      message: expect.stringContaining(absent) as string,
    });
    copyFileSync(fileURLToPath(new URL('./corpus.ts', import.meta.url)), join(folder.path, 'broken.mjs'));
    expect(readFileSync(join(folder.path, 'broken.mjs'), 'utf8')).toContain('import');
    await expect(BfdService.create({ worker: join(folder.path, 'broken.mjs') })).rejects.toMatchObject({
      code: 'VIP_BFD_WORKER_FAILED',
    });
  });
});
