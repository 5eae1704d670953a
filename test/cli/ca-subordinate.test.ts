/** `meshwright ca init --subordinate | csr | install`, with openssl as the owner of the root. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, vi } from 'vitest';
import { runCli } from '../../src/cli/program.js';
import { describeRequiring, testRequiring } from '../support/requirements.js';

let folder: string;
let out: string;
let err: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meshwright-cli-subordinate-'));
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
const json = (): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>;
const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

async function ca(command: string, ...args: string[]): Promise<number> {
  [out, err] = ['', ''];
  process.exitCode = undefined;
  const status = await runCli(['ca', command, '--store', at('ca'), ...args]);
  process.exitCode = undefined;
  return status;
}

function makeRoot(name: string): void {
  writeFileSync(at('req.cnf'), '[req]\ndistinguished_name=dn\n[dn]\n');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
  const says = ['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign'];
  openssl('req', '-x509', '-config', 'req.cnf', ...key, '-subj', `/CN=${name}`, ...says, '-out', `${name}.pem`);
}

function sign(csr: string, root: string): void {
  const from = ['-CA', `${root}.pem`, '-CAkey', `${root}.key`, '-CAcreateserial', '-copy_extensions', 'copyall'];
  openssl('x509', '-req', '-in', csr, ...from, '-days', '7', '-out', `${csr}.pem`);
}

describeRequiring({ commands: ['openssl'] }, 'meshwright ca under an external root', () => {
  testRequiring({}, 'goes from request to chain to leaf, and on to the next certificate', async () => {
    makeRoot('corporate');
    const init = ['--subordinate', '--trust-domain', 'cluster.local'];
    expect(await ca('init', ...init, '--out', at('first.csr'))).toBe(0);
    expect(await ca('init', ...init)).toBe(0);
    expect(out).toBe(readFileSync(at('first.csr'), 'utf8'));
    // Nothing works before its certificate is here.
    expect(await ca('show')).toBe(2);
    expect(err).toContain('CA_CHAIN_MISSING');
    sign('first.csr', 'corporate');
    const chain = (csr: string, root: string) => ['--chain', at(`${csr}.pem`), '--root', at(`${root}.pem`), '--json'];
    makeRoot('stranger');
    expect(await ca('install', ...chain('first.csr', 'stranger'))).toBe(2);
    expect(err).toContain('CA_CHAIN_REFUSED');
    expect(await ca('install', ...chain('first.csr', 'corporate'))).toBe(0);
    expect(json()).toMatchObject({ trustDomain: 'cluster.local' });
    expect(await ca('init', ...init)).toBe(2);
    expect(err).toContain('CA_EXISTS');

    const issue = async (name: string): Promise<void> => {
      const id = 'spiffe://cluster.local/ns/shop/sa/web';
      expect(await ca('issue', id, '--key-out', at(`${name}.key`), '--out', at(`${name}.pem`))).toBe(0);
    };
    await issue('web');
    openssl('verify', '-x509_strict', '-CAfile', 'corporate.pem', '-untrusted', 'web.pem', 'web.pem');
    await ca('bundle', '--pem');
    expect(out.replace(/\s/g, '')).toBe(readFileSync(at('corporate.pem'), 'utf8').replace(/\s/g, ''));

    expect(await ca('csr', '--out', at('second.csr'), '--reason', 'yearly')).toBe(0);
    await ca('show', '--json');
    expect(json()).toMatchObject({
      externalRoot: { subordinate: true, requested: { csrPem: expect.any(String) as unknown } },
    });
    expect(await ca('csr', '--replace', '--out', at('third.csr'))).toBe(0);
    for (const csr of ['second.csr', 'third.csr']) sign(csr, 'corporate');
    expect(await ca('install', ...chain('second.csr', 'corporate'))).toBe(2);
    expect(err).toContain('CA_CHAIN_KEY');
    expect(await ca('install', ...chain('third.csr', 'corporate'), '--reason', 'yearly')).toBe(0);
    expect(json()).toMatchObject({ phase: 'prepared' });
    expect(await ca('rotate', 'activate')).toBe(2);
    expect(err).toContain('CA_ROTATION_NOT_READY');
    expect(await ca('rotate', 'activate', '--force')).toBe(0);
    await issue('web2');
    openssl('verify', '-x509_strict', '-CAfile', 'corporate.pem', '-untrusted', 'web2.pem', 'web2.pem');
    expect(await ca('csr', '--withdraw', '--json')).toBe(0);
    expect(json()).toEqual({ withdrawn: false });
    expect(await runCli(['ca', 'audit', 'verify', at('ca/audit.jsonl')])).toBe(0);
    const audit = readFileSync(at('ca/audit.jsonl'), 'utf8');
    for (const step of ['root-request', 'root-install', 'root-activate']) expect(audit).toContain(`"${step}"`);
    expect(audit).not.toContain('PRIVATE');
  });
});
