import { mkdtemp, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AdminSocket, callAdmin } from '../../src/mesh/index.js';
import type { AdminHandler } from '../../src/mesh/index.js';
import { closed } from './support.js';

let directory: string;
let path: string;
let open: AdminSocket | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meshwright-admin-'));
  path = join(directory, 'run', 'agent.sock');
});
afterEach(async () => {
  open?.destroy();
  await open?.close();
  open = undefined;
  await rm(directory, { recursive: true });
});

const listen = async (calls: Record<string, AdminHandler> = { status: () => ({ up: true }) }): Promise<AdminSocket> =>
  (open = await AdminSocket.listen({ path, calls }));
const failsWith = (code: string): unknown => expect.objectContaining({ code });

describe('AdminSocket', () => {
  it('answers calls with JSON, from a socket of mode 0600 in a directory of mode 0700', async () => {
    await listen({ status: () => ({ up: true }), echo: (body) => body });
    expect(await callAdmin(path, 'status')).toEqual({ up: true });
    expect(await callAdmin(path, 'echo', { some: ['body'] })).toEqual({ some: ['body'] });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'run'))).mode & 0o777).toBe(0o700);
  });

  it('leaves the umask as it was', async () => {
    const before = process.umask();
    await listen();
    expect(process.umask()).toBe(before);
  });

  it.each<[string, AdminHandler, RegExp]>([
    [
      'throws',
      () => {
        throw new Error('no such node');
      },
      /no such node/,
    ],
    ['rejects', () => Promise.reject(new Error('later')), /later/],
    ['returns what is no JSON', () => ({ big: 1n }), /BigInt/],
  ])('reports a handler that %s, and goes on', async (_what, handler, message) => {
    await listen({ bad: handler, good: () => 1 });
    await expect(callAdmin(path, 'bad')).rejects.toThrowError(message);
    await expect(callAdmin(path, 'bad')).rejects.toEqual(failsWith('MESH_ADMIN_FAILED'));
    expect(await callAdmin(path, 'good')).toBe(1);
  });

  it.each(['nothing', '__proto__', 'constructor', 'status/../x', 'status?x=1'])('has no call %s', async (call) => {
    await listen();
    await expect(callAdmin(path, call)).rejects.toThrowError(/expected one of status/);
  });

  it('takes POST alone, so that no browser or reader changes anything by a GET', async () => {
    await listen();
    const status = await new Promise((resolve, reject) => {
      const outgoing = request({ socketPath: path, path: '/status' }, (incoming) => {
        incoming.resume();
        resolve(incoming.statusCode);
      });
      outgoing.once('error', reject).end();
    });
    expect(status).toBe(404);
  });

  it('refuses a body beyond 64 KiB, and one that is no JSON, with an answer', async () => {
    await listen({ echo: (body) => body });
    await expect(callAdmin(path, 'echo', 'x'.repeat(70_000))).rejects.toThrowError(/at most 65536 bytes/);
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(path);
      socket.on('data', (data) => resolve(String(data)));
      socket.write('POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nconnection: close\r\n\r\n{');
    });
    expect(answer).toMatch(/^HTTP\/1.1 400/);
  });

  it('replaces the socket of a process that is gone', async () => {
    await mkdir(join(directory, 'run'));
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(path, resolve));
    // Node unlinks on close; a killed process does not.
    const kept = `${path}.kept`;
    const { rename } = await import('node:fs/promises');
    await rename(path, kept);
    await new Promise((resolve) => dead.close(resolve));
    await rename(kept, path);
    await listen();
    expect(await callAdmin(path, 'status')).toEqual({ up: true });
  });

  it('leaves one alone that is alive, though it does not answer', async () => {
    await mkdir(join(directory, 'run'));
    const busy = createServer(() => undefined);
    await new Promise<void>((resolve) => busy.listen(path, resolve));
    await expect(listen()).rejects.toEqual(failsWith('MESH_ADMIN_PATH'));
    await new Promise((resolve) => busy.close(resolve));
  });

  it('touches neither a file nor a symbolic link at its path', async () => {
    await mkdir(join(directory, 'run'));
    await writeFile(path, 'precious');
    await expect(listen()).rejects.toEqual(failsWith('MESH_ADMIN_PATH'));
    await rm(path);
    await writeFile(`${path}.target`, 'precious', { mode: 0o644 });
    await symlink(`${path}.target`, path);
    await expect(listen()).rejects.toEqual(failsWith('MESH_ADMIN_PATH'));
    expect((await stat(`${path}.target`)).mode & 0o777).toBe(0o644);
  });

  it('ends at once when destroyed, slow clients and all', async () => {
    const socket = await listen({ hang: () => new Promise(() => undefined) });
    const silent = connect(path);
    const over = closed(silent);
    const hanging = callAdmin(path, 'hang').catch((error: unknown) => error);
    await new Promise((done) => setTimeout(done, 20));
    socket.destroy();
    await over;
    expect(await hanging).toEqual(failsWith('MESH_ADMIN_UNREACHABLE'));
    await socket.close();
  });
});

describe('callAdmin', () => {
  it('says who should be there when nobody is', async () => {
    await expect(callAdmin(path, 'status')).rejects.toEqual(failsWith('MESH_ADMIN_UNREACHABLE'));
  });

  it('fails, and not the process, on an answer that is no JSON', async () => {
    await mkdir(join(directory, 'run'));
    const server = createServer((socket) => socket.resume().end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{]'));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(callAdmin(path, 'status')).rejects.toEqual(failsWith('MESH_ADMIN_FAILED'));
    await new Promise((resolve) => server.close(resolve));
  });

  it('does not wait for ever', async () => {
    await listen({ hang: () => new Promise(() => undefined) });
    await expect(callAdmin(path, 'hang', undefined, { timeoutMs: 30 })).rejects.toEqual(
      failsWith('MESH_ADMIN_UNREACHABLE'),
    );
  });
});
