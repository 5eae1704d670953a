import { appendFileSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { SpiffeCA, fileAuditLog, fileStore, readAuditLog, verifyAuditLog } from 'meshwright/ca';
import type { AuditLog, AuditRecord } from 'meshwright/ca';
import { agent, codeOf, p256, testDirectory, workload } from './support.js';

async function filled(): Promise<{ readonly file: string; readonly secrets: readonly string[] }> {
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
  const joinToken = await (await ca.joinTokens()).create({ node: 'node-c', by: 'carol' });
  await ca.close();
  return { file, secrets: [token, joinToken.token].map((each) => each.split('.').at(-1) ?? each) };
}

async function recordsOf(file: string): Promise<readonly AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const record of readAuditLog(file)) records.push(record);
  return records;
}

const entry = { event: 'issued', operation: 'x509-svid', who: 'again' } as const;

async function append(log: AuditLog, count: number): Promise<void> {
  for (let done = 0; done < count; done += 1) await log.append(entry);
}

it('records every issue, refusal and step, chained, and no secret', async () => {
  const { file, secrets } = await filled();
  const text = readFileSync(file, 'utf8');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect((await recordsOf(file)).map(({ event, operation, who }) => [event, operation, who])).toEqual([
    ['rotation', 'root-create', 'operator'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'x509-svid', 'test'],
    ['issued', 'workload-token', 'spiffe://cluster.local/agent/node-a'],
    ['rotation', 'root-prepare', 'alice'],
    ['refused', 'root-activate', 'alice'],
    ['denied', 'deny-node', 'bob'],
    ['issued', 'join-token', 'carol'],
  ]);
  expect(await verifyAuditLog(file)).toMatchObject({ records: 9, firstSequence: 1, unfinishedBytes: 0 });
  for (const secret of secrets) expect(text).not.toContain(secret);
  expect(text).not.toContain('PRIVATE');
});

it('notices a record that was changed, left out, put in, swapped or cut off', async () => {
  const { file } = await filled();
  const text = readFileSync(file, 'utf8');
  const { head } = await verifyAuditLog(file);
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
    [first, '', second, ...rest],
    [first, second, 'x'.repeat(600_000), ...rest],
  ]) {
    writeFileSync(file, joined(changed));
    expect(await codeOf(() => verifyAuditLog(file))).toBe('CA_AUDIT_BROKEN');
    expect(await codeOf(() => fileAuditLog({ file }))).toBe('CA_AUDIT_BROKEN');
  }
  writeFileSync(file, joined(lines.slice(0, -1)));
  const cut = await verifyAuditLog(file);
  expect(cut.records).toBe(8);
  expect(await codeOf(() => verifyAuditLog(file, { expectHead: head }))).toBe('CA_AUDIT_BROKEN');
  writeFileSync(file, text);
  expect((await verifyAuditLog(file, { expectHead: cut.head })).head).toBe(head);
});

it('goes on with the chain after a restart, and after a record cut short by a crash', async () => {
  const { file } = await filled();
  appendFileSync(file, '{"sequence":9,"at":"20');
  expect(await verifyAuditLog(file)).toMatchObject({ records: 9, unfinishedBytes: 22 });
  const log = await fileAuditLog({ file });
  await log.append(entry);
  await log.close();
  expect((await recordsOf(file)).slice(-2).map(({ event }) => event)).toEqual(['repaired', 'issued']);
  expect((await verifyAuditLog(file)).head).toBe(log.end.head);
  expect(await codeOf(() => log.append(entry))).toBe('CA_CLOSED');
});

it('goes on in a new file when one is full, and is one chain over all of them and over restarts', async () => {
  const directory = testDirectory();
  const file = join(directory, 'audit.jsonl');
  const heads: string[] = [];
  for (let run = 0; run < 3; run += 1) {
    const log = await fileAuditLog({ file, maxBytes: 1000 });
    await append(log, 10);
    heads.push(log.end.head);
    await log.close();
  }
  const full = readdirSync(directory).sort();
  expect(full.length).toBeGreaterThan(5);
  expect(full[0]).toBe('audit.000000000001.jsonl');
  expect(full.every((name) => (statSync(join(directory, name)).mode & 0o777) === 0o600)).toBe(true);
  const whole = await verifyAuditLog(file, { expectHead: heads[0] });
  expect(whole).toMatchObject({ records: 30, firstSequence: 1, head: heads[2] });

  // What is left after the oldest were taken away is told as such; one taken from between is noticed.
  const between = readFileSync(join(directory, full[2] ?? ''));
  rmSync(join(directory, full[0] ?? ''));
  const later = await verifyAuditLog(file);
  expect(later.firstSequence).toBeGreaterThan(1);
  expect(later.records + later.firstSequence - 1).toBe(30);
  rmSync(join(directory, full[2] ?? ''));
  expect(await codeOf(() => verifyAuditLog(file))).toBe('CA_AUDIT_BROKEN');
  writeFileSync(join(directory, full[2] ?? ''), between);
  // The oldest under the name of another is noticed as well.
  writeFileSync(join(directory, 'audit.000000000002.jsonl'), readFileSync(join(directory, full[1] ?? '')));
  expect(await codeOf(() => verifyAuditLog(file))).toBe('CA_AUDIT_BROKEN');
});

it('goes on after a crash between putting a full file aside and making the next', async () => {
  const file = join(testDirectory(), 'audit.jsonl');
  const before = await fileAuditLog({ file, maxBytes: 500 });
  await append(before, 4);
  await before.close();
  rmSync(file);
  expect(readdirSync(dirname(file)).length).toBeGreaterThan(0);
  const cut = await verifyAuditLog(file);
  const log = await fileAuditLog({ file });
  expect(log.end.head).toBe(cut.head);
  await append(log, 1);
  await log.close();
  expect((await verifyAuditLog(file)).records).toBe(cut.records + 1);
});

it('is opened only by whoever has the store, and closed again when the CA does not open', async () => {
  const directory = testDirectory();
  const file = join(directory, 'audit.jsonl');
  const store = () => fileStore({ directory: join(directory, 'ca'), key: { passphrase: 'correct horse' } });
  let opened = 0;
  const audit = (): ReturnType<typeof fileAuditLog> => {
    opened += 1;
    return fileAuditLog({ file });
  };
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', store: store(), audit });
  expect(opened).toBe(1);
  expect(await codeOf(() => SpiffeCA.open({ store: store(), audit }))).toBe('CA_STORE_LOCKED');
  expect(opened).toBe(1);
  await ca.close();
  expect(await codeOf(() => SpiffeCA.create({ trustDomain: 'cluster.local', store: store(), audit }))).toBe(
    'CA_EXISTS',
  );
  expect(opened).toBe(1);
  writeFileSync(file, '{}\n');
  expect(await codeOf(() => SpiffeCA.open({ store: store(), audit }))).toBe('CA_AUDIT_BROKEN');
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
  await expect((await ca.joinTokens()).create({ node: 'node-a' })).rejects.toThrow('disk full');
  expect(ca.rootRotation.status.phase).toBe('steady');
});
