/**
 * Keys replaced and identities denied in a mesh whose nodes know only what the control plane tells them: they joined it,
 * renew over it, and follow its bundle.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import type { KeyRotation } from 'meshwright/ca';
import { isMeshwrightError } from 'meshwright/core';
import { verifyJwtSvid, workloadTokenHeader } from 'meshwright/spiffe';
import { createTestMesh } from 'meshwright/testing';
import type { TestMesh, TestMeshOptions } from 'meshwright/testing';
import { Http2MtlsTunnel } from 'meshwright/tunnel';

const echo = { tcp: (socket: Socket) => void socket.pipe(socket) };
const nodes = ['node-a', 'node-b'] as const;

function mesh(lifetimes: Pick<TestMeshOptions, 'svidTtlMs' | 'tokenTtlMs'> = {}): Promise<TestMesh> {
  return createTestMesh({
    controlPlane: true,
    ...lifetimes,
    workloads: {
      'shop/web': { node: 'node-a' },
      'shop/quiet': { node: 'node-a' },
      'shop/beside': { node: 'node-a', servers: { 7000: echo } },
      'shop/near': { node: 'node-b' },
      'shop/api': { node: 'node-b', servers: { 7000: echo, 8080: (_request, response) => response.end('hello') } },
    },
    services: {
      'shop/api': { workloads: ['shop/api'], port: 80, targetPort: 8080 },
      'shop/echo': { workloads: ['shop/api'], port: 7000, targetPort: 7000 },
      'shop/beside': { workloads: ['shop/beside'], port: 7000, targetPort: 7000 },
    },
  });
}

const status = (from: TestMesh, workload: string): Promise<number> =>
  from
    .workload(workload)
    .fetch('http://api.shop/')
    .then(
      (answer) => answer.status,
      () => 0,
    );

/** Requests one after another, from another node and from the same one. */
function load(on: TestMesh): { readonly answers: number[]; stop(): Promise<void> } {
  const answers: number[] = [];
  let running = true;
  const work = ['shop/web', 'shop/near'].map(async (workload) => {
    while (running) {
      answers.push(await status(on, workload));
      await sleep(2);
    }
  });
  return {
    answers,
    stop: async () => {
      running = false;
      await Promise.all(work);
    },
  };
}

async function until(done: () => boolean | Promise<boolean>, withinMs: number): Promise<number> {
  const start = performance.now();
  while (!(await done())) {
    if (performance.now() - start > withinMs)
      throw new Error(`expected ${done.toString()} within ${String(withinMs)} ms`);
    await sleep(5);
  }
  return performance.now() - start;
}

/** Takes the step as soon as the CA does not refuse it as too early. */
async function whenReady(step: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await step();
      return;
    } catch (error) {
      if (!isMeshwrightError(error, 'CA_ROTATION_NOT_READY')) throw error;
      await sleep(50);
    }
  }
}

it(
  'root, token key and JWT-SVID key are replaced, each step when it is due, without one failed request',
  { timeout: 60_000 },
  async () => {
    await using own = await mesh({ svidTtlMs: 8000, tokenTtlMs: 6000 });
    const { ca } = own;
    const requests = load(own);
    const jwts = ca.jwtSvids({ ttlMs: 1000 });
    const verified: string[] = [];
    let running = true;
    const jwtLoad = (async () => {
      while (running) {
        const now = Date.now();
        const { token } = await jwts.issue({ spiffeId: own.workload('shop/web').spiffeId, audience: 'db' });
        for (const node of nodes) {
          const verdict = await verifyJwtSvid(token, { bundle: own.node(node).bundle, audience: 'db', now }).then(
            () => 'ok',
            String,
          );
          verified.push(verdict);
        }
        await sleep(20);
      }
    })();
    const before = [ca.rootRotation, ca.tokenKeyRotation, ca.jwtKeyRotation].map(({ status: { active } }) => active);
    const serials = nodes.map((node) => own.node(node).svid.serialNumber);
    const rotate = async (rotation: KeyRotation): Promise<void> => {
      await rotation.prepare();
      await whenReady(() => rotation.activate());
      await whenReady(() => rotation.retire());
    };
    await Promise.all([ca.rootRotation, ca.tokenKeyRotation, ca.jwtKeyRotation].map(rotate));
    await sleep(500);
    running = false;
    await Promise.all([requests.stop(), jwtLoad]);
    nodes.forEach((node, index) => expect(own.node(node).svid.serialNumber).not.toBe(serials[index]));
    expect(new Set(verified)).toEqual(new Set(['ok']));
    const after = [ca.rootRotation, ca.tokenKeyRotation, ca.jwtKeyRotation].map(({ status: { active } }) => active);
    after.forEach((active, index) => expect(active).not.toBe(before[index]));
    // The nodes have followed: one key of each kind is left, and it is the new one.
    for (const node of nodes) expect(own.node(node).bundle.equals(ca.bundle.current)).toBe(true);
    expect(ca.bundle.current.x509Authorities).toHaveLength(1);
    expect(new Set(requests.answers)).toEqual(new Set([200]));
    expect(requests.answers.length).toBeGreaterThan(200);
    expect(verified.length).toBeGreaterThan(100);
  },
);

/**
 * A client with what node-a has at this moment and never anything newer: as somebody who stole it. Its workload is one that
 * node-a itself opens no streams for, since fresh evidence of a workload is good for all streams of that workload.
 */
async function thief(of: TestMesh): Promise<{ readonly ended: Promise<number>; again(): Promise<boolean> }> {
  const { svid, bundle } = of.node('node-a');
  const token = await of.node('node-a').token(of.workload('shop/quiet').spiffeId);
  const client = Http2MtlsTunnel.client({ svid, bundle });
  onTestFinished(() => client.destroy());
  const { ip, port } = of.node('node-b').tunnelAddress;
  const connect = async (): Promise<Duplex> => {
    const { stream } = await client.connect({
      address: { ip, port },
      authority: `${of.workload('shop/api').address}:7000`,
      peer: () => true,
      headers: { [workloadTokenHeader]: token },
    });
    return stream;
  };
  const stream = await connect();
  stream.on('error', () => undefined).on('data', () => undefined);
  stream.write('hello');
  const ended = new Promise<number>((resolve) => stream.on('close', () => resolve(performance.now())));
  return {
    ended,
    again: () =>
      connect().then(
        (made) => {
          made.on('error', () => undefined).destroy();
          return true;
        },
        () => false,
      ),
  };
}

it.each(['root', 'token key'] as const)(
  'a %s that is compromised is replaced within seconds: what is stolen ends within one, and no request fails',
  { timeout: 60_000 },
  async (which) => {
    await using own = await mesh({ svidTtlMs: 40_000, tokenTtlMs: 40_000 });
    const { ca } = own;
    const requests = load(own);
    await sleep(200);
    const rotation = which === 'root' ? ca.rootRotation : ca.tokenKeyRotation;
    const serials = (): string => nodes.map((node) => own.node(node).svid.serialNumber).join();
    const tokens = async (): Promise<string> =>
      [
        await own.node('node-a').token(own.workload('shop/web').spiffeId),
        await own.node('node-b').token(own.workload('shop/near').spiffeId),
      ].join();
    const before = { serials: serials(), tokens: await tokens() };
    await rotation.prepare();
    await until(() => nodes.every((node) => own.node(node).bundle.sequence === ca.bundle.current.sequence), 10_000);
    const stolen = await thief(own);
    await rotation.activate({ force: true });
    // The nodes renew by themselves, at moments of their own within a twentieth of what is left.
    const each = (now: string, then: string): boolean => {
      const old = then.split(',');
      return now.split(',').every((value, index) => value !== old[index]);
    };
    if (which === 'root') await until(() => each(serials(), before.serials), 15_000);
    else await until(async () => each(await tokens(), before.tokens), 15_000);
    await sleep(300);
    expect(await stolen.again()).toBe(true);
    const retiredAt = performance.now();
    await rotation.retire({ force: true });
    expect((await stolen.ended) - retiredAt).toBeLessThan(1000);
    expect(await stolen.again()).toBe(false);
    await sleep(1000);
    await requests.stop();
    expect(new Set(requests.answers)).toEqual(new Set([200]));
    for (const node of nodes) expect(own.node(node).bundle.equals(ca.bundle.current)).toBe(true);
  },
);

it.each(['node', 'spiffe-id', 'serial-number'] as const)(
  'what the deny list names by %s is cut off within a second, from tunnels, within its node and from the control plane, until it is taken off',
  { timeout: 30_000 },
  async (kind) => {
    await using own = await mesh();
    const { ca, controller } = own;
    const isConnected = (node: string): boolean =>
      controller?.peers.some(({ spiffeId }) => spiffeId.path === `/agent/${node}`) === true;
    await until(() => isConnected('node-a') && isConnected('node-b'), 10_000);
    const victim = await thief(own);
    const open = {
      'out of the node': await own.workload('shop/web').connect('echo.shop:7000'),
      'into the node': await own.workload('shop/near').connect('beside.shop:7000'),
      'within the node': await own.workload('shop/web').connect('beside.shop:7000'),
    };
    for (const socket of Object.values(open)) {
      socket.on('error', () => undefined).write('hello');
      await once(socket, 'data');
    }
    const cut = Object.entries(open).map(([what, socket]) => {
      return [what, new Promise<number>((resolve) => socket.on('close', () => resolve(performance.now())))] as const;
    });
    const elsewhere = await own.workload('shop/near').connect('echo.shop:7000');
    elsewhere.on('error', () => undefined);
    expect(await status(own, 'shop/web')).toBe(200);
    const { svid } = own.node('node-a');
    const value = { node: 'node-a', 'spiffe-id': svid.spiffeId.toString(), 'serial-number': svid.serialNumber }[kind];

    const deniedAt = performance.now();
    await ca.denyList.deny({ kind, value });
    await until(() => !isConnected('node-a'), 1000);
    for (const [what, end] of [['stolen', victim.ended] as const, ...cut]) {
      expect((await end) - deniedAt, what).toBeLessThan(1000);
    }
    expect(elsewhere.destroyed).toBe(false);
    expect(await status(own, 'shop/web')).not.toBe(200);
    expect(await victim.again()).toBe(false);
    await expect(own.node('node-a').renew()).rejects.toThrow();
    await expect(own.node('node-a').token(own.workload('shop/api').spiffeId)).rejects.toThrow();
    // It tries to follow the bundle, and is not let in; the others go on.
    await sleep(1000);
    expect([isConnected('node-a'), isConnected('node-b')]).toEqual([false, true]);
    expect(await status(own, 'shop/near')).toBe(200);

    await ca.denyList.allow({ kind, value });
    await until(async () => (await status(own, 'shop/web')) === 200, 10_000);
    await own.node('node-a').renew();
  },
);
