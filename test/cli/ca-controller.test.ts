/** `meshwright ca` on a CA that a running controller has open. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, afterEach, expect, it, vi } from 'vitest';
import { runCli } from '../../src/cli/program.js';
import { freePort } from '../support/free-port.js';
import { startControllerProcess } from '../support/reference-controller.js';
import type { ControllerProcess } from '../support/reference-controller.js';

let directory: string;
let controller: ControllerProcess;
let out: string;
let err: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'meshwright-cli-controller-'));
  controller = await startControllerProcess({ directory, manifests: [], port: await freePort() });
}, 60_000);
afterAll(async () => {
  await controller.stop();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(() => {
  vi.spyOn(console, 'log').mockImplementation((text: unknown) => void (out += `${String(text)}\n`));
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((out += String(text)), true));
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((err += String(text)), true));
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

async function ca(...args: string[]): Promise<number> {
  [out, err] = ['', ''];
  process.exitCode = undefined;
  const status = await runCli(['ca', ...args]);
  process.exitCode = undefined;
  return status;
}
const json = (): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>;

it('finds the controller by the store that it holds, or is told its socket', async () => {
  for (const where of [
    ['--store', controller.store],
    ['--controller', controller.admin],
  ]) {
    expect(await ca('show', ...where, '--json')).toBe(0);
    expect(json()).toMatchObject({ trustDomain: 'cluster.local', rotation: { phase: 'steady' } });
    expect(await ca('bundle', ...where)).toBe(0);
    expect(json()).toMatchObject({ keys: expect.any(Array) as unknown });
    expect(await ca('bundle', '--pem', ...where)).toBe(0);
    expect(out).toMatch(/^-----BEGIN CERTIFICATE-----/);
  }
  expect(await ca('show')).toBe(2);
  expect(await ca('show', '--store', controller.store, '--controller', controller.admin)).toBe(2);
  expect(await ca('show', '--controller', join(directory, 'nobody.sock'))).toBe(2);
  expect(err).toContain('MESH_ADMIN_UNREACHABLE');
});

it('rotates, denies and makes tokens there; a refusal keeps its code', async () => {
  const where = ['--controller', controller.admin];
  expect(await ca('rotate', 'prepare', '--reason', 'yearly', ...where, '--json')).toBe(0);
  expect(json()['phase']).toBe('prepared');
  expect(await ca('rotate', 'activate', ...where)).toBe(2);
  expect(err).toContain('CA_ROTATION_NOT_READY');
  expect(await ca('rotate', 'cancel', ...where)).toBe(0);
  expect(await ca('deny', 'node', 'node-x', '--reason', 'stolen', ...where)).toBe(0);
  expect(await ca('deny', 'node', 'node-x', '--remove', ...where)).toBe(0);
  expect(await ca('deny', 'node', 'node-x', '--remove', ...where)).toBe(1);
  expect(await ca('deny', 'node', 'a/b', ...where)).toBe(2);
  expect(err).toContain('CA_REQUEST_INVALID');
  expect(await ca('token', 'node-a', '--ttl', '10m', ...where, '--json')).toBe(0);
  expect(json()).toMatchObject({ node: 'node-a' });
});

it('issues nothing there', async () => {
  const key = join(directory, 'key.pem');
  const id = 'spiffe://cluster.local/controller';
  expect(await ca('issue', id, '--key-out', key, '--store', controller.store)).toBe(2);
  expect(err).toContain('CA_STORE_LOCKED');
  expect(err).toContain(controller.admin);
});

it('verifies the log while the controller writes it, up to the end that it knows', async () => {
  expect(await ca('audit', 'verify', '--controller', controller.admin, '--json')).toBe(0);
  const { file, records, ok } = json();
  expect({ file, ok }).toEqual({ file: join(controller.store, 'audit.jsonl'), ok: true });
  expect(await ca('audit', 'show', '--store', controller.store, '--json')).toBe(0);
  const shown = JSON.parse(out) as readonly Record<string, unknown>[];
  expect(shown).toHaveLength(Number(records));
  const steps = shown.filter(({ who }) => who === 'admin socket').map(({ operation }) => operation);
  expect(steps).toEqual(['root-prepare', 'root-activate', 'root-cancel', 'deny-node', 'allow-node', 'join-token']);
  // Records that the controller knows of and the file no longer has.
  const text = readFileSync(String(file), 'utf8');
  writeFileSync(String(file), text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1));
  expect(await ca('audit', 'verify', '--controller', controller.admin)).toBe(1);
  expect(out).toContain('cut off');
  writeFileSync(String(file), text);
});

it('opens the store itself once the controller has ended, and finds what was done', async () => {
  await controller.stop();
  expect(await ca('audit', 'verify', '--store', controller.store, '--json')).toBe(0);
  expect(await ca('token', 'node-b', '--store', controller.store)).toBe(0);
  expect(await ca('audit', 'show', '--store', controller.store, '--json')).toBe(0);
  const shown = JSON.parse(out) as readonly Record<string, unknown>[];
  expect(shown.at(-1)).toMatchObject({
    operation: 'join-token',
    node: 'node-b',
    who: expect.stringMatching(/^operator /) as string,
  });
});
