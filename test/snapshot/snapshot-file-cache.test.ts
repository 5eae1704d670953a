import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SnapshotFileCache, aesGcmSealing, contentHash } from '../../src/snapshot/index.js';
import type { Sealing } from '../../src/snapshot/index.js';

interface State {
  readonly name: string;
  readonly list: readonly number[];
}

const state: State = { name: 'näme', list: [1, 2, 3] };
let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meshwright-cache-'));
  path = join(directory, 'state', 'snapshot');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const cacheOf = (parts: { sealing?: Sealing; label?: string; maxBytes?: number } = {}): SnapshotFileCache<State> =>
  new SnapshotFileCache<State>({ path, label: 'node-a', ...parts });

describe.each([
  ['plain', undefined],
  ['sealed', aesGcmSealing(Buffer.alloc(32, 7))],
])('SnapshotFileCache, %s', (_how, sealing) => {
  const own = sealing === undefined ? {} : { sealing };

  it('gives back what was written, in a private file of a private directory, leaving nothing beside it', async () => {
    const cache = cacheOf(own);
    expect(await cache.read()).toBeUndefined();
    await cache.write({ ...state, name: 'old' });
    await cache.write(state);
    expect(await cacheOf(own).read()).toMatchObject({ value: state, hash: contentHash(state) });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, 'state'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(directory, 'state'))).toEqual(['snapshot']);
  });

  it('treats damage in any byte as absence', async () => {
    const cache = cacheOf(own);
    await cache.write(state);
    const good = await readFile(path);
    for (let at = 0; at < good.length; at += 1) {
      const damaged = Buffer.from(good);
      damaged[at] = (damaged[at] ?? 0) ^ 0x01;
      await writeFile(path, damaged);
      expect(await cache.read(), `byte ${String(at)}`).toBeUndefined();
    }
  });

  it('treats a file cut off anywhere, or with more after its end, as absence', async () => {
    const cache = cacheOf(own);
    await cache.write(state);
    const good = await readFile(path);
    for (let length = 0; length < good.length; length += 1) {
      await writeFile(path, good.subarray(0, length));
      expect(await cache.read(), `${String(length)} bytes`).toBeUndefined();
    }
    await writeFile(path, Buffer.concat([good, Buffer.from(' ')]));
    expect(await cache.read()).toBeUndefined();
  });
});

describe('SnapshotFileCache', () => {
  it('does not use the snapshot of another node', async () => {
    await cacheOf().write(state);
    expect(await cacheOf({ label: 'node-b' }).read()).toBeUndefined();
  });

  it('does not use a file that others may write to', async () => {
    await cacheOf().write(state);
    await chmod(path, 0o620);
    expect(await cacheOf().read()).toBeUndefined();
  });

  it('does not read a file sealed with another key, or not sealed', async () => {
    const sealing = aesGcmSealing(Buffer.alloc(32, 1));
    await cacheOf({ sealing }).write(state);
    expect((await readFile(path)).includes('list')).toBe(false);
    expect(await cacheOf({ sealing: aesGcmSealing(Buffer.alloc(32, 2)) }).read()).toBeUndefined();
    expect(await cacheOf().read()).toBeUndefined();
    await cacheOf().write(state);
    expect(await cacheOf({ sealing }).read()).toBeUndefined();
  });

  it('refuses to write more than the limit, and keeps the file', async () => {
    await cacheOf().write(state);
    const small = cacheOf({ maxBytes: 100 });
    await expect(small.write({ ...state, name: 'x'.repeat(200) })).rejects.toMatchObject({
      code: 'SNAPSHOT_TOO_LARGE',
    });
    expect(await cacheOf().read()).toMatchObject({ value: state });
  });

  it('treats what its parser refuses as absence, and says why', async () => {
    const lines: unknown[] = [];
    const logger = {
      debug: () => undefined,
      info: () => undefined,
      error: () => undefined,
      child: () => logger,
      warn: (...line: unknown[]) => void lines.push(line),
    };
    const parse = (): State => {
      throw new Error('not a state');
    };
    await cacheOf().write(state);
    expect(await new SnapshotFileCache<State>({ path, label: 'node-a', parse, logger }).read()).toBeUndefined();
    expect(lines).toMatchObject([['cached snapshot not used', { path, reason: 'not a state' }]]);
  });

  it('ends with the last of many writes at once', async () => {
    const cache = cacheOf();
    await Promise.all(Array.from({ length: 20 }, (_, index) => cache.write({ ...state, list: [index] })));
    expect(await cache.read()).toMatchObject({ value: { list: [19] } });
  });

  it('refuses a key of another size', () => {
    expect(() => aesGcmSealing(Buffer.alloc(16))).toThrow(expect.objectContaining({ code: 'SNAPSHOT_OPTION_INVALID' }));
  });
});
