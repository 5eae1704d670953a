import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CaError, SpiffeCA, fileStore, memoryStore } from 'meshwright/ca';
import type { CaStore, StoreKeySource } from 'meshwright/ca';
import { repositoryRoot } from '../support/repository.js';
import { testRequiring } from '../support/requirements.js';
import { codeOf, testDirectory, until } from './support.js';

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');

const key: StoreKeySource = { passphrase: 'correct horse battery staple' };

/** A key file in a directory of its own. */
function keyFile(content = 'ab'.repeat(32), mode = 0o600): { readonly file: string } {
  const file = join(testDirectory(), 'ca.key');
  writeFileSync(file, content, { mode });
  chmodSync(file, mode);
  return { file };
}

/** What every store must do. `make` gives the same place each time it is called. */
const stores: readonly (readonly [string, () => () => CaStore])[] = [
  [
    'memoryStore',
    () => {
      const store = memoryStore();
      return () => store;
    },
  ],
  [
    'fileStore with a key file',
    () => {
      const options = { directory: join(testDirectory(), 'ca'), key: keyFile() };
      return () => fileStore(options);
    },
  ],
  [
    'fileStore with a passphrase',
    () => {
      const options = { directory: join(testDirectory(), 'ca'), key };
      return () => fileStore(options);
    },
  ],
];

describe.each(stores)('%s', (_, place) => {
  it('keeps documents apart, and across close and open', async () => {
    const make = place();
    const first = make();
    await first.open();
    expect(await first.read('authority')).toBeUndefined();
    await first.write('authority', Buffer.from('one'));
    await first.write('join-tokens', Buffer.from('two'));
    await first.write('authority', Buffer.from('three'));
    expect(text(await first.read('authority'))).toBe('three');
    await first.close();
    const second = make();
    await second.open();
    expect(text(await second.read('authority'))).toBe('three');
    expect(text(await second.read('join-tokens'))).toBe('two');
    await second.close();
  });

  it('is open once at a time', async () => {
    const make = place();
    const first = make();
    await first.open();
    expect(await codeOf(() => make().open())).toBe('CA_STORE_LOCKED');
    await first.close();
    await first.close();
    await make().open();
  });

  it('keeps the last of many writes', async () => {
    const store = place()();
    await store.open();
    await Promise.all(
      Array.from({ length: 20 }, (_each, index) => store.write('authority', Buffer.from(String(index)))),
    );
    expect(text(await store.read('authority'))).toBe('19');
    await store.close();
  });
});

describe('fileStore', () => {
  it('encrypts, and lets only its owner in', async () => {
    const directory = join(testDirectory(), 'ca');
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', store: fileStore({ directory, key: keyFile() }) });
    await (await ca.joinTokens()).create({ node: 'node-secret-name' });
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(directory)) {
      expect(statSync(join(directory, name)).mode & 0o777).toBe(0o600);
      if (!statSync(join(directory, name)).isFile()) continue;
      const content = readFileSync(join(directory, name)).toString('latin1');
      for (const plain of ['PRIVATE', 'BEGIN', 'node-secret-name']) expect(content).not.toContain(plain);
    }
    await ca.close();
    expect(readdirSync(directory).sort()).toEqual(['authority.sealed', 'join-tokens.sealed', 'store.json']);
  });

  it('refuses a directory that others may enter', async () => {
    const directory = testDirectory();
    chmodSync(directory, 0o755);
    expect(await codeOf(() => fileStore({ directory, key: keyFile() }).open())).toBe('CA_STORE_FAILED');
  });

  it.each([
    ['readable by others', () => keyFile('ab'.repeat(32), 0o644)],
    ['too short', () => keyFile('ab'.repeat(31))],
    ['not hex or base64', () => keyFile('x'.repeat(64))],
    ['missing', () => ({ file: '/nonexistent/key' })],
    ['an empty passphrase', () => ({ passphrase: '' })],
  ] as const)('refuses a key that is %s', async (_, source) => {
    const directory = join(testDirectory(), 'ca');
    expect(await codeOf(() => fileStore({ directory, key: source() }).open())).toBe('CA_STORE_KEY_INVALID');
    expect(existsSync(join(directory, 'lock'))).toBe(false);
  });

  it('takes base64 keys too', async () => {
    const directory = join(testDirectory(), 'ca');
    const source = keyFile(`${Buffer.alloc(32, 7).toString('base64')}\n`);
    await SpiffeCA.create({ trustDomain: 'cluster.local', store: fileStore({ directory, key: source }) });
  });

  it('refuses another key, and another kind of key', async () => {
    const directory = join(testDirectory(), 'ca');
    await (
      await SpiffeCA.create({ trustDomain: 'cluster.local', store: fileStore({ directory, key: keyFile() }) })
    ).close();
    for (const other of [keyFile('cd'.repeat(32)), key]) {
      const store = fileStore({ directory, key: other });
      expect(await codeOf(() => SpiffeCA.openOrCreate({ trustDomain: 'cluster.local', store }))).toBe(
        'CA_STORE_KEY_INVALID',
      );
    }
  });

  it('makes a key file for a new store only', async () => {
    const parent = testDirectory();
    const source = { file: join(parent, 'ca.key'), createIfMissing: true };
    const directory = join(parent, 'ca');
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', store: fileStore({ directory, key: source }) });
    await ca.close();
    expect(statSync(source.file).mode & 0o777).toBe(0o600);
    rmSync(source.file);
    const store = fileStore({ directory, key: source });
    expect(await codeOf(() => SpiffeCA.openOrCreate({ trustDomain: 'cluster.local', store }))).toBe(
      'CA_STORE_KEY_INVALID',
    );
    expect(existsSync(source.file)).toBe(false);
  });

  const damages: readonly (readonly [string, (directory: string) => void])[] = [
    ['a document is missing', (directory) => rmSync(join(directory, 'authority.sealed'))],
    ['the manifest is missing', (directory) => rmSync(join(directory, 'store.json'))],
    ['the manifest is empty', (directory) => writeFileSync(join(directory, 'store.json'), '')],
    ['a document is empty', (directory) => writeFileSync(join(directory, 'authority.sealed'), '')],
    ['a document is cut', (directory) => cut(join(directory, 'authority.sealed'))],
    ['a document has a changed byte', (directory) => flip(join(directory, 'authority.sealed'), 20)],
    ['a document has a changed tag', (directory) => flip(join(directory, 'authority.sealed'), -1)],
    [
      'two documents are swapped',
      (directory) =>
        writeFileSync(join(directory, 'authority.sealed'), readFileSync(join(directory, 'join-tokens.sealed'))),
    ],
  ];

  it.each(damages)('refuses to start when %s, and changes nothing', async (_, damage) => {
    const directory = join(testDirectory(), 'ca');
    const source = keyFile();
    const first = await SpiffeCA.create({ trustDomain: 'cluster.local', store: fileStore({ directory, key: source }) });
    await (await first.joinTokens()).create({ node: 'node-a' });
    await first.close();
    damage(directory);
    const before = contents(directory);
    const store = fileStore({ directory, key: source });
    expect(await codeOf(() => SpiffeCA.openOrCreate({ trustDomain: 'cluster.local', store }))).toBe('CA_STORE_CORRUPT');
    expect(contents(directory)).toEqual(before);
  });

  it('leaves the old document when a write fails', async () => {
    const directory = join(testDirectory(), 'ca');
    const store = fileStore({ directory, key: keyFile() });
    await store.open();
    await store.write('authority', Buffer.from('old'));
    mkdirSync(join(directory, 'join-tokens.sealed'));
    expect(await codeOf(() => store.write('join-tokens', Buffer.from('new')))).toBe('CA_STORE_FAILED');
    expect(text(await store.read('authority'))).toBe('old');
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await store.close();
  });

  it('is locked while another process has it, and free once that was killed', async () => {
    const directory = join(testDirectory(), 'ca');
    const source = keyFile();
    const child = fork(join(import.meta.dirname, 'hold-store.ts'), [directory, source.file], {
      execArgv: ['--import', 'tsx', '--conditions', 'meshwright-source'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await once(child, 'message');
    const store = fileStore({ directory, key: source });
    expect(await codeOf(() => store.open())).toBe('CA_STORE_LOCKED');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(join(directory, 'lock'))).toBe(true);
    await store.open();
    await store.close();
  });

  testRequiring(
    { root: true, commands: ['unshare'] },
    'is free once its holder in another PID namespace is gone',
    async () => {
      // As a container that takes the place of one that was killed; with a path too long for the address of a socket.
      const directory = join(testDirectory(), 'c'.repeat(100), 'ca');
      const source = keyFile();
      const node = ['--import', 'tsx', '--conditions', 'meshwright-source', join(import.meta.dirname, 'hold-store.ts')];
      const inside = [
        '--pid',
        '--fork',
        '--mount-proc',
        '--kill-child',
        process.execPath,
        ...node,
        directory,
        source.file,
      ];
      const child = spawn('unshare', inside, { stdio: ['pipe', 'ignore', 'inherit'], cwd: repositoryRoot });
      onTestFinished(() => void child.kill('SIGKILL'));
      const lock = join(directory, 'lock');
      await until(() => existsSync(lock));
      const store = fileStore({ directory, key: source });
      expect(await codeOf(() => store.open())).toBe('CA_STORE_LOCKED');
      const { pid, pidNamespace, presence } = JSON.parse(readFileSync(lock, 'utf8')) as Record<string, unknown>;
      expect(pidNamespace).not.toBe(readlinkSync('/proc/self/ns/pid'));
      // That a process of that number is here, or none, says nothing.
      expect(pid).toBeLessThan(10);
      child.kill('SIGKILL');
      await once(child, 'exit');
      expect(existsSync(join(directory, String(presence)))).toBe(true);
      // The one inside is killed with its parent, and its end takes a moment.
      let code = 'CA_STORE_LOCKED';
      for (let tries = 0; code === 'CA_STORE_LOCKED' && tries < 500; tries += 1) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        code = await codeOf(() => store.open().then(() => Promise.reject(new CaError('CA_CLOSED', 'opened'))));
      }
      expect(code).toBe('CA_CLOSED');
      await store.close();
      expect(readdirSync(directory).filter((name) => name.startsWith('lock'))).toEqual([]);
    },
  );

  it('lets one of several take over from a holder that is gone', async () => {
    const directory = join(testDirectory(), 'ca');
    const source = keyFile();
    await closed(fileStore({ directory, key: source }));
    const dead = { boot: 'an earlier one', pidNamespace: 'x', pid: 1, started: '1', nonce: 'n' };
    writeFileSync(join(directory, 'lock'), JSON.stringify(dead), { mode: 0o600 });
    const rivals = Array.from({ length: 8 }, () => fileStore({ directory, key: source }));
    const outcomes = await Promise.allSettled(rivals.map((rival) => rival.open()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('respects a lock it cannot judge', async () => {
    const directory = join(testDirectory(), 'ca');
    const source = keyFile();
    await closed(fileStore({ directory, key: source }));
    writeFileSync(join(directory, 'lock'), 'who knows', { mode: 0o600 });
    expect(await codeOf(() => fileStore({ directory, key: source }).open())).toBe('CA_STORE_LOCKED');
  });
});

async function closed(store: CaStore): Promise<void> {
  await store.open();
  await store.close();
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const index = at < 0 ? bytes.length + at : at;
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

function cut(path: string): void {
  writeFileSync(path, readFileSync(path).subarray(0, -7));
}

function contents(directory: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    readdirSync(directory).map((name) => [name, readFileSync(join(directory, name)).toString('hex')]),
  );
}
