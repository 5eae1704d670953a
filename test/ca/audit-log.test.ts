import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { SpiffeCA, fileAuditLog, readAuditLog, verifyAuditLog } from 'meshwright/ca';
import { agent, codeOf, p256, testDirectory, workload } from './support.js';

async function filled(): Promise<{ readonly file: string; readonly secret: string }> {
  const file = join(testDirectory(), 'audit.jsonl');
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', audit: await fileAuditLog({ file }) });
  const { publicKey } = p256();
  const all = [1, 2, 3].map(() => ca.issueX509Svid({ spiffeId: agent, publicKey, requester: 'test' }));
  await Promise.all(all);
  const tokens = ca.tokens({ registry: { runsOn: () => true } });
  const { token } = await tokens.issue({ node: 'node-a', workload, confirmationKey: publicKey });
  await ca.rootRotation.prepare({ by: 'alice', reason: 'yearly' });
  await codeOf(() => ca.rootRotation.activate({ by: 'alice' }));
  await ca.denyList.deny({ kind: 'node', value: 'node-b', by: 'bob', reason: 'lost' });
  await ca.close();
  return { file, secret: token };
}

it('records every issue, refusal and step, chained, and no secret', async () => {
  const { file, secret } = await filled();
  const text = readFileSync(file, 'utf8');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readAuditLog(text).map(({ event, operation, who }) => [event, operation, who])).toEqual([
    ['rotation', 'root-create', 'operator'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'workload-token', 'spiffe://cluster.local/agent/node-a'],
    ['rotation', 'root-prepare', 'alice'],
    ['refused', 'root-activate', 'alice'],
    ['denied', 'deny-node', 'bob'],
  ]);
  expect(verifyAuditLog(text).records).toBe(8);
  expect(text).not.toContain(secret.split('.')[2]);
  expect(text).not.toContain('PRIVATE');
});

it('notices a record that was changed, left out, put in, swapped or cut off', async () => {
  const { file } = await filled();
  const text = readFileSync(file, 'utf8');
  const { head } = verifyAuditLog(text);
  const lines = text.split('\n').slice(0, -1);
  const joined = (changed: readonly string[]): string => changed.map((line) => `${line}\n`).join('');
  const [first = '', second = '', ...rest] = lines;
  for (const changed of [
    [first, second.replace('"who":"test"', '"who":"else"'), ...rest],
    [first, ...rest],
    [second, ...rest],
    [first, second, second, ...rest],
    [second, first, ...rest],
    [first, `${second} `, ...rest],
    [first, '{}', ...rest],
  ]) {
    expect(await codeOf(() => verifyAuditLog(joined(changed)))).toBe('CA_AUDIT_BROKEN');
    writeFileSync(file, joined(changed));
    expect(await codeOf(() => fileAuditLog({ file }))).toBe('CA_AUDIT_BROKEN');
  }
  const cut = joined(lines.slice(0, -1));
  expect(verifyAuditLog(cut).records).toBe(7);
  expect(await codeOf(() => verifyAuditLog(cut, { expectHead: head }))).toBe('CA_AUDIT_BROKEN');
  expect(verifyAuditLog(text, { expectHead: verifyAuditLog(cut).head }).head).toBe(head);
});

it('goes on with the chain after a restart, and after a record cut short by a crash', async () => {
  const { file } = await filled();
  appendFileSync(file, '{"sequence":9,"at":"20');
  const log = await fileAuditLog({ file });
  await log.append({ event: 'issued', operation: 'x509-svid', who: 'again' });
  await log.close();
  const records = readAuditLog(readFileSync(file, 'utf8'));
  expect(records.slice(-2).map(({ event }) => event)).toEqual(['repaired', 'issued']);
  expect(await codeOf(() => log.append({ event: 'issued', operation: 'x', who: 'y' }))).toBe('CA_CLOSED');
});

it('issues nothing that it cannot record', async () => {
  const append = (): Promise<void> => Promise.reject(new Error('disk full'));
  let failing = false;
  const audit = { append: () => (failing ? append() : Promise.resolve()), close: () => Promise.resolve() };
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', audit });
  failing = true;
  const { publicKey } = p256();
  await expect(ca.issueX509Svid({ spiffeId: agent, publicKey })).rejects.toThrow('disk full');
  await expect(ca.rootRotation.prepare()).rejects.toThrow('disk full');
  expect(ca.rootRotation.status.phase).toBe('steady');
});
