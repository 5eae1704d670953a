/**
 * The reference controller killed in the middle of each step of a rotation, and started again: agents go on serving, and
 * the rotation goes on from where it was.
 */
import { mkdtempSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { verifyAuditLog } from 'meshwright/ca';
import type { JoinToken, RotationStatus } from 'meshwright/ca';
import { silentLogger } from 'meshwright/core';
import { EvidenceStore, PeerAuthenticator, callAdmin } from 'meshwright/mesh';
import {
  SpiffeId,
  TrustBundle,
  TrustDomain,
  agentId,
  authorizeAgent,
  verifyX509Svid,
  workloadTokenHeader,
} from 'meshwright/spiffe';
import { Http2MtlsTunnel } from 'meshwright/tunnel';
import { joinedIdentity } from '../../src/testing/test-node-identity.js';
import type { TestNodeIdentity } from '../../src/testing/test-node-identity.js';
import { freePort } from '../support/free-port.js';
import { startControllerProcess } from '../support/reference-controller.js';
import type { ControllerProcess } from '../support/reference-controller.js';

const trustDomain = TrustDomain.parse('cluster.local');
const web = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
const manifests = [
  ...['node-a', 'node-b'].map((name, index) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address: `192.0.2.${String(index + 1)}` }] },
  })),
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { nodeName: 'node-a', serviceAccountName: 'web', containers: [{ name: 'web' }] },
    status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }], phase: 'Running' },
  },
];

async function until(done: () => boolean, withinMs: number): Promise<void> {
  const end = performance.now() + withinMs;
  while (!done()) {
    if (performance.now() > end) throw new Error(`expected ${done.toString()} within ${String(withinMs)} ms`);
    await sleep(10);
  }
}

/** Resolves as soon as the file of that name is written to or put in place. */
function whenWritten(directory: string, name: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(directory, (_event, changed) => {
      if (changed !== name) return;
      watcher.close();
      resolve();
    });
  });
}

/** Whether its certificate leads to the root that the bundle names first, which is the one that signs. */
function isOfSigningRoot({ svid, bundle }: TestNodeIdentity): boolean {
  const [root] = bundle.current.x509AuthoritiesPem;
  const only = TrustBundle.create({ trustDomain, x509Authorities: [root ?? ''] });
  try {
    verifyX509Svid({ certificates: svid.current.certificates, bundle: only, now: Date.now() });
    return true;
  } catch {
    return false;
  }
}

/** The destination's end: answers whoever proves to be a workload. */
async function serve({ svid, bundle }: TestNodeIdentity): Promise<{ readonly address: string }> {
  const authenticator = new PeerAuthenticator({ bundle, evidence: new EvidenceStore(), knowsNode: () => true });
  const server = await Http2MtlsTunnel.listen({
    host: '127.0.0.1',
    port: 0,
    svid,
    bundle,
    authorizePeer: authorizeAgent(),
    onConnect: async (request) => {
      const source = await authenticator.authenticate(request.peer, request.session, request.headers);
      if ('refused' in source) request.refuse(403);
      else request.accept().resume().end('ok');
    },
  });
  onTestFinished(() => server.destroy());
  return { address: `127.0.0.1:${String(server.address.port)}` };
}

/** The source's end: one request after another, each on a stream of its own. */
function load(
  { svid, bundle, tokens }: TestNodeIdentity,
  address: string,
): { readonly failures: string[]; count: () => number; stop(): Promise<void> } {
  const client = Http2MtlsTunnel.client({ svid, bundle });
  onTestFinished(() => client.destroy());
  const peer = agentId(trustDomain, 'node-b');
  const failures: string[] = [];
  let running = true;
  let count = 0;
  const work = (async () => {
    while (running) {
      try {
        const headers = async ({ keyThumbprint }: { readonly keyThumbprint: string }) => ({
          [workloadTokenHeader]: await tokens.token(web, { keyThumbprint }),
        });
        const { stream } = await client.connect({ address, authority: '10.0.0.2:80', peer, headers });
        let body = '';
        for await (const chunk of stream.end()) body += String(chunk);
        if (body !== 'ok') failures.push(`got ${JSON.stringify(body)}`);
        count += 1;
      } catch (error) {
        failures.push(String(error));
      }
      await sleep(2);
    }
  })();
  return {
    failures,
    count: () => count,
    stop: async () => {
      running = false;
      await work;
    },
  };
}

it(
  'a controller that is killed at every step of a rotation costs no request, and the rotation goes on',
  { timeout: 300_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'meshwright-crash-'));
    const port = await freePort();
    // The address stays: agents know no other.
    // Long enough that nothing has to be renewed while the controller is away, but for the change of roots.
    const settings = { svidTtlMs: 300_000, tokenTtlMs: 300_000 };
    const start = (): Promise<ControllerProcess> => startControllerProcess({ directory, manifests, port, settings });
    let controller = await start();
    onTestFinished(async () => {
      await controller.stop('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    });
    const agent = async (name: string): Promise<TestNodeIdentity> => {
      const joinToken = (await callAdmin(controller.admin, 'ca-token', { node: name })) as JoinToken;
      const { address } = controller;
      const identity = await joinedIdentity({ name, trustDomain, address, joinToken, logger: silentLogger });
      onTestFinished(() => identity.close());
      return identity;
    };
    const [source, destination] = [await agent('node-a'), await agent('node-b')];
    const requests = load(source, (await serve(destination)).address);
    await until(() => requests.count() > 20, 30_000);

    const rotate = async (step: string): Promise<RotationStatus> =>
      (await callAdmin(controller.admin, 'ca-rotate', {
        step,
        force: step === 'activate' || step === 'retire',
      })) as RotationStatus;
    const before = await rotate('status');
    const phases = ['steady', 'prepared', 'activated', 'steady'] as const;
    const crashes: string[] = [];
    for (const [index, step] of (['prepare', 'activate', 'retire'] as const).entries()) {
      // Killed when the step has been recorded, and when it has been written: before the answer, either way.
      for (const written of ['audit.jsonl', 'authority.sealed']) {
        const killed = whenWritten(controller.store, written).then(() => controller.stop('SIGKILL'));
        await rotate(step).catch(() => undefined);
        await killed;
        const served = requests.count();
        await until(() => requests.count() > served + 20, 30_000);
        controller = await start();
        const { phase } = await rotate('status');
        expect([phases[index], phases[index + 1]]).toContain(phase);
        crashes.push(`${step}, ${written}: ${phase}`);
        if (phase === phases[index + 1]) break;
      }
      if ((await rotate('status')).phase === phases[index]) await rotate(step);
      // Agents follow by themselves: the bundle, and from activation on the root.
      const { sequence } = (await callAdmin(controller.admin, 'ca-show')) as { readonly sequence: number };
      await until(() => [source, destination].every(({ bundle }) => bundle.current.sequence >= sequence), 60_000);
      await until(() => [source, destination].every(isOfSigningRoot), 60_000);
    }
    const served = requests.count();
    await until(() => requests.count() > served + 50, 30_000);
    await requests.stop();
    expect(requests.failures).toEqual([]);
    expect(crashes.length).toBeGreaterThanOrEqual(3);
    const after = await rotate('status');
    expect(after.phase).toBe('steady');
    expect(after.active).not.toBe(before.active);
    const { head } = (await callAdmin(controller.admin, 'ca-audit')) as { readonly head: string };
    await verifyAuditLog(join(controller.store, 'audit.jsonl'), { expectHead: head });
  },
);
