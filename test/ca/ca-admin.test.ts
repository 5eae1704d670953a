import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SpiffeCA, caAdminCalls, fileAuditLog, readAuditLog } from 'meshwright/ca';
import type { CaAdminCall } from 'meshwright/ca';
import { agent, codeOf, p256, testDirectory } from './support.js';

async function administered(): Promise<{
  readonly ca: SpiffeCA;
  readonly file: string;
  readonly call: (name: CaAdminCall, request?: unknown) => Promise<unknown>;
}> {
  const file = join(testDirectory(), 'audit.jsonl');
  const audit = await fileAuditLog({ file });
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', audit });
  const calls = caAdminCalls({ ca, audit, who: 'admin socket' });
  // As over a socket.
  const call = async (name: CaAdminCall, request: unknown = {}): Promise<unknown> =>
    JSON.parse(JSON.stringify(await calls[name](JSON.parse(JSON.stringify(request))))) as unknown;
  return { ca, file, call };
}

it('shows, rotates, denies and makes join tokens, each step recorded as the caller’s', async () => {
  const { ca, file, call } = await administered();
  await ca.issueX509Svid({ spiffeId: agent, publicKey: p256().publicKey });
  expect(await call('ca-show')).toMatchObject({ trustDomain: 'cluster.local', rotation: { phase: 'steady' } });
  expect(await call('ca-rotate', { step: 'prepare', reason: 'yearly', keyType: 'P-384' })).toMatchObject({
    phase: 'prepared',
  });
  expect(await codeOf(() => call('ca-rotate', { step: 'activate' }))).toBe('CA_ROTATION_NOT_READY');
  await call('ca-rotate', { step: 'activate', force: true });
  await call('ca-rotate', { key: 'token-key', step: 'prepare' });
  expect(await call('ca-rotate', { key: 'jwt-key', step: 'status' })).toMatchObject({ phase: 'steady' });
  expect(await call('ca-deny', { kind: 'node', value: 'node-b', reason: 'lost' })).toMatchObject({ value: 'node-b' });
  expect(await call('ca-bundle')).toMatchObject({
    trustDomain: 'cluster.local',
    bundle: { meshwright_denied: { nodes: ['node-b'] } },
  });
  expect(await call('ca-deny', { kind: 'node', value: 'node-b', remove: true })).toEqual({ removed: true });
  expect(await call('ca-deny', { kind: 'node', value: 'node-b', remove: true })).toEqual({ removed: false });
  expect(await call('ca-token', { node: 'node-c' })).toMatchObject({ node: 'node-c', rootPin: ca.rootPin });
  const steps: string[] = [];
  let last = '';
  for await (const { operation, who, hash } of readAuditLog(file)) {
    if (who === 'admin socket') steps.push(operation);
    last = hash;
  }
  expect(steps).toEqual([
    'root-prepare',
    'root-activate',
    'root-activate',
    'token-key-prepare',
    'deny-node',
    'allow-node',
    'join-token',
  ]);
  expect(await call('ca-audit')).toEqual({ file, records: 9, head: last });
  await ca.close();
});

it.each<[CaAdminCall, unknown]>([
  ['ca-show', { extra: 1 }],
  ['ca-show', 'text'],
  ['ca-rotate', undefined],
  ['ca-rotate', {}],
  ['ca-rotate', { step: 'sideways' }],
  ['ca-rotate', { step: 'retire', key: 'all' }],
  ['ca-rotate', { step: 'activate', force: 'yes' }],
  ['ca-rotate', { step: 'prepare', ttlMs: -1 }],
  ['ca-deny', { kind: 'node' }],
  ['ca-deny', { kind: 'everything', value: 'x' }],
  ['ca-deny', { kind: 'node', value: 'a/b' }],
  ['ca-deny', { kind: 'serial-number', value: 'xyz' }],
  ['ca-deny', { kind: 'node', value: 'x', ttlMs: 1 }],
  ['ca-token', { node: '' }],
  ['ca-token', { node: 'a/b' }],
  ['ca-token', { node: 'a', ttlMs: 1 }],
])('refuses %s with %j, and changes nothing', async (name, request) => {
  const { ca, call } = await administered();
  const before = ca.bundle.current;
  expect(await codeOf(() => call(name, request ?? null))).toBe('CA_REQUEST_INVALID');
  expect(ca.bundle.current).toBe(before);
  await ca.close();
});
