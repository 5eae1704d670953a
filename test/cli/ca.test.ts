import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { runCli } from '../../src/cli/program.js';

let folder: string;
let out: string;
let err: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meshwright-cli-ca-'));
  vi.spyOn(console, 'log').mockImplementation((text: unknown) => void (out += `${String(text)}\n`));
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true));
});

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);

async function run(...args: string[]): Promise<number> {
  [out, err] = ['', ''];
  process.exitCode = undefined;
  const status = await runCli(args);
  process.exitCode = undefined;
  return status;
}

const ca = (command: string, ...args: string[]): Promise<number> => run('ca', command, '--store', at('ca'), ...args);
const json = (): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>;
const init = (): Promise<number> => ca('init', '--trust-domain', 'cluster.local', '--json');
const web = 'spiffe://cluster.local/ns/shop/sa/web';

it('makes a CA once, with its key 0600', async () => {
  expect(await init()).toBe(0);
  expect(json()['rootPin']).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(statSync(at('ca.key')).mode & 0o777).toBe(0o600);
  expect(await init()).toBe(2);
  expect(err).toContain('CA_EXISTS');
});

it('issues for a CSR of openssl, and shows and verifies what it issued', async () => {
  await init();
  const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=ignored'];
  execFileSync('openssl', ['req', '-new', ...options, '-keyout', at('k'), '-out', at('csr')], { stdio: 'ignore' });
  expect(await ca('issue', web, '--csr', at('csr'), '--out', at('svid.pem'), '--json')).toBe(0);
  const { serialNumber } = json();
  expect(await run('svid', 'show', at('svid.pem'), '--json')).toBe(0);
  expect(json()).toMatchObject({ names: `URI:${web}`, serialNumber, keyType: 'ECDSA P-256' });

  await ca('bundle', '--pem');
  writeFileSync(at('root.pem'), out);
  execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', at('root.pem'), at('svid.pem')]);
  const verify = async (): Promise<number> => {
    await ca('bundle');
    writeFileSync(at('bundle.json'), out);
    return run('svid', 'verify', at('svid.pem'), '--bundle', at('bundle.json'), '--trust-domain', 'cluster.local');
  };
  expect(await verify()).toBe(0);
  expect(out).toContain(web);
  expect(await ca('deny', 'serial-number', String(serialNumber), '--reason', 'lost')).toBe(0);
  expect(await verify()).toBe(1);
  expect(out).toContain('SPIFFE_X509_DENIED');
  expect(await ca('deny', 'serial-number', String(serialNumber), '--remove')).toBe(0);
  expect(await ca('deny', 'serial-number', String(serialNumber), '--remove')).toBe(1);
  expect(await verify()).toBe(0);
});

it('makes a key of its own, readable by its owner alone, and overwrites none', async () => {
  await init();
  expect(await ca('issue', web, '--key-out', at('key.pem'), '--ttl', '2h')).toBe(0);
  expect(out).toContain('BEGIN CERTIFICATE');
  expect(statSync(at('key.pem')).mode & 0o777).toBe(0o600);
  expect(await ca('issue', web, '--key-out', at('key.pem'))).toBe(2);
  expect(await ca('issue', web)).toBe(2);
});

it('rotates the root step by step', async () => {
  await init();
  await ca('issue', web, '--key-out', at('key.pem'));
  expect(await ca('rotate', 'prepare', '--key-type', 'Ed25519', '--json')).toBe(0);
  expect(json()['phase']).toBe('prepared');
  expect(await ca('rotate', 'activate')).toBe(2);
  expect(err).toContain('CA_ROTATION_NOT_READY');
  expect(await ca('rotate', 'activate', '--force', '--reason', 'stolen')).toBe(0);
  expect(await ca('rotate', 'retire')).toBe(2);
  expect(await ca('show', '--json')).toBe(0);
  expect(json()).toMatchObject({ rotation: { phase: 'activated' }, roots: [{ signs: true }, { signs: false }] });
  expect(await ca('rotate', 'retire', '--force')).toBe(0);
  expect(await ca('rotate', 'prepare', '--of', 'token-key')).toBe(0);
});

it('makes join tokens', async () => {
  await init();
  expect(await ca('token', 'node-a', '--ttl', '10m', '--json')).toBe(0);
  expect(json()).toMatchObject({ node: 'node-a', rootPin: expect.stringMatching(/^sha256:/) as string });
});

it('verifies its audit log', async () => {
  await init();
  await ca('issue', web, '--key-out', at('key.pem'));
  const log = join(at('ca'), 'audit.jsonl');
  expect(await run('ca', 'audit', 'verify', log, '--json')).toBe(0);
  expect(json()).toMatchObject({ ok: true, records: 2 });
  expect(await run('ca', 'audit', 'show', log)).toBe(0);
  expect(out).toContain(web);
  writeFileSync(log, readFileSync(log, 'utf8').replace(web, `${web}-2`));
  expect(await run('ca', 'audit', 'verify', log)).toBe(1);
  expect(out).toContain('line 2');
});

it('tells what is wrong with a command line', async () => {
  expect(await run('ca', 'init', '--trust-domain', 'x')).toBe(2);
  expect(await ca('show')).toBe(2);
  expect(await ca('issue', web, '--key-out', at('k'), '--ttl', 'soon')).toBe(2);
  expect(await ca('rotate', 'sideways')).toBe(2);
  expect(await run('svid', 'show', at('missing'))).toBe(2);
});
