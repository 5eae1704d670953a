import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { createTestMesh } from 'meshwright/testing';
import type { TestMesh } from 'meshwright/testing';

const echo = { tcp: (socket: Socket) => void socket.pipe(socket) };

function mesh(): Promise<TestMesh> {
  return createTestMesh({
    workloads: {
      'shop/web': { node: 'node-a' },
      'shop/other': { node: 'node-a' },
      'shop/near': { node: 'node-b' },
      'shop/api': { node: 'node-b', servers: { 7000: echo, 8080: (_request, response) => response.end('hello') } },
    },
    services: {
      'shop/api': { workloads: ['shop/api'], port: 80, targetPort: 8080 },
      'shop/echo': { workloads: ['shop/api'], port: 7000, targetPort: 7000 },
    },
  });
}

async function open(from: TestMesh, workload: string): Promise<{ ended: Promise<number>; alive(): Promise<boolean> }> {
  const socket = await from.workload(workload).connect('echo.shop:7000');
  socket.on('error', () => undefined);
  // Not `once`, which a reset would reject.
  const ended = new Promise<number>((resolve) => socket.on('close', () => resolve(performance.now())));
  const alive = async (): Promise<boolean> => {
    if (socket.destroyed) return false;
    socket.write('ping');
    const answered = new Promise<true>((resolve) => socket.once('data', () => resolve(true)));
    return Promise.race([answered, ended.then(() => false)]);
  };
  expect(await alive()).toBe(true);
  return { ended, alive };
}

const status = (from: TestMesh, workload: string): Promise<number> =>
  from
    .workload(workload)
    .fetch('http://api.shop/')
    .then(
      (answer) => answer.status,
      () => 0,
    );

it.each([
  ['shop/web', 'shop/other'],
  ['shop/near', 'shop/other'],
])('denying %s ends its live connections and refuses new ones, and nobody else’s', async (denied, spared) => {
  await using own = await mesh();
  const [victim, bystander] = [await open(own, denied), await open(own, spared)];
  const value = own.workload(denied).spiffeId.toString();
  const deniedAt = performance.now();
  await own.ca.denyList.deny({ kind: 'spiffe-id', value });
  expect((await victim.ended) - deniedAt).toBeLessThan(1000);
  expect(await status(own, denied)).not.toBe(200);
  expect(await bystander.alive()).toBe(true);
  expect(await status(own, spared)).toBe(200);
  await own.ca.denyList.allow({ kind: 'spiffe-id', value });
  expect(await status(own, denied)).toBe(200);
});

it.each(['node', 'serial-number'] as const)('denying a %s ends its sessions, live streams with them', async (kind) => {
  await using own = await mesh();
  const victim = await open(own, 'shop/web');
  const local = await open(own, 'shop/near');
  const value = kind === 'node' ? 'node-a' : own.node('node-a').svid.serialNumber;
  const deniedAt = performance.now();
  await own.ca.denyList.deny({ kind, value });
  expect((await victim.ended) - deniedAt).toBeLessThan(1000);
  expect(await status(own, 'shop/web')).not.toBe(200);
  expect(await local.alive()).toBe(true);
});

it('withdrawing the key of workload tokens ends at once what rests on it, and spares what has fresh evidence', async () => {
  await using own = await mesh();
  const [stale, renewed, unrenewed] = [
    await open(own, 'shop/web'),
    await open(own, 'shop/near'),
    await open(own, 'shop/other'),
  ];
  await own.ca.tokenKeyRotation.prepare();
  await own.ca.tokenKeyRotation.activate({ force: true });
  await own.node('node-b').renew();
  const withdrawnAt = performance.now();
  await own.ca.tokenKeyRotation.retire({ force: true });
  for (const victim of [stale, unrenewed]) expect((await victim.ended) - withdrawnAt).toBeLessThan(1000);
  expect(await renewed.alive()).toBe(true);
  const ends = own.events.flatMap((event) => (event.type === 'connection-closed' ? [event.reason] : []));
  expect(ends).toContain('evidence-withdrawn');
  expect(ends).not.toContain('evidence-expired');
});

it(
  'rotates root and token key under live tunnels and renewals without one failed request',
  { timeout: 60_000 },
  async () => {
    await using own = await mesh();
    const nodes = ['node-a', 'node-b'];
    const renewAll = async (): Promise<void> => {
      for (const node of nodes) await own.node(node).renew();
    };
    let running = true;
    const answers: number[] = [];
    const load = (async () => {
      while (running) answers.push(await status(own, 'shop/web'), await status(own, 'shop/other'));
    })();
    // Between two steps: every agent has the bundle, and some traffic.
    const traffic = async (): Promise<void> => {
      const after = answers.length + 20;
      while (answers.length < after) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const before = own.ca.rootPin;
    for (const rotation of [own.ca.rootRotation, own.ca.tokenKeyRotation]) {
      const long = await open(own, 'shop/web');
      await rotation.prepare();
      await traffic();
      await rotation.activate({ force: true });
      await traffic();
      await renewAll();
      await traffic();
      expect(await long.alive()).toBe(true);
      // Forced, since this mesh has a day to wait otherwise: it ends what rests on the old key alone, as the long stream's session does.
      await rotation.retire({ force: true });
      await traffic();
      await renewAll();
    }
    running = false;
    await load;
    expect(own.ca.rootPin).not.toBe(before);
    expect(own.ca.bundle.current.x509Authorities).toHaveLength(1);
    expect(new Set(answers)).toEqual(new Set([200]));
  },
);
