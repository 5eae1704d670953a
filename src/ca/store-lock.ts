import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, readlink, rmdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CaError } from './errors.js';
import { isPresenceName, isPresent, showPresence } from './lock-presence.js';

/**
 * One process per store. The lock is a file that names its holder; it comes into being by link(2), which fails when it
 * is there already. A holder that is certainly gone is replaced: of an earlier boot, or whose socket refuses, which also
 * tells of holders in other PID namespaces; where there is no socket, one whose process is no more. One that cannot be
 * judged is respected.
 */
export interface StoreLock {
  release(): Promise<void>;
}

interface Holder {
  readonly boot: string;
  readonly pidNamespace: string;
  readonly pid: number;
  /** Start time in clock ticks since boot, so that a recycled PID is not taken for the holder. */
  readonly started: string;
  readonly nonce: string;
  /** File name of the socket that shows it lives. */
  readonly presence?: string | undefined;
  readonly adminSocket?: string | undefined;
}

/** `adminSocket` is where the holder can be asked, for whoever finds the store locked. Throws `CA_STORE_LOCKED`, with both in its fields. */
export async function lockStore(directory: string, adminSocket?: string): Promise<StoreLock> {
  const path = join(directory, 'lock');
  const presence = await showPresence(directory);
  const mine = JSON.stringify({ ...(await describeSelf()), presence: presence?.name, adminSocket });
  try {
    if (!(await place(path, mine))) await replaceDeadHolder(directory, path, mine);
  } catch (error) {
    await presence?.close();
    throw error;
  }
  return {
    release: async () => {
      // Only one's own: an operator may have removed it and started another process.
      if ((await readHolder(path)) === mine) await unlink(path).catch(() => undefined);
      await presence?.close();
    },
  };
}

async function replaceDeadHolder(directory: string, path: string, mine: string): Promise<void> {
  const held = await readHolder(path);
  if (held !== undefined && (await mayBeAlive(directory, held))) throw locked(path, held);
  // Two processes may find the same dead holder. mkdir lets one at a time replace it.
  const gate = join(directory, 'lock.replacing');
  try {
    await mkdir(gate);
  } catch (cause) {
    throw new CaError('CA_STORE_LOCKED', `another process is taking over the store; if none is, remove ${gate}`, {
      cause,
    });
  }
  try {
    const now = await readHolder(path);
    if (now !== undefined && (now !== held || (await mayBeAlive(directory, now)))) throw locked(path, now);
    await unlink(path).catch(() => undefined);
    await removePresence(directory, now);
    if (!(await place(path, mine))) throw locked(path, (await readHolder(path)) ?? '');
  } finally {
    await rmdir(gate);
  }
}

/** Puts a lock with `content` at `path`; false when one is there. */
async function place(path: string, content: string): Promise<boolean> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  await writeFile(temporary, content, { flag: 'wx', mode: 0o600 });
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
}

async function readHolder(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}

function parseHolder(content: string): Partial<Holder> | undefined {
  try {
    return JSON.parse(content) as Partial<Holder>;
  } catch {
    return undefined;
  }
}

async function mayBeAlive(directory: string, content: string): Promise<boolean> {
  const self = await describeSelf();
  const holder = parseHolder(content);
  if (holder === undefined) return true;
  if (typeof holder.pid !== 'number' || typeof holder.boot !== 'string') return true;
  if (holder.boot !== self.boot) return false;
  const present = await isPresent(directory, holder.presence);
  if (present !== undefined) return present;
  if (holder.pidNamespace !== self.pidNamespace) return true;
  return (await startTime(holder.pid)) === holder.started;
}

/** The socket file that a dead holder left behind. */
async function removePresence(directory: string, content: string | undefined): Promise<void> {
  const name = content === undefined ? undefined : parseHolder(content)?.presence;
  if (isPresenceName(name)) await unlink(join(directory, name)).catch(() => undefined);
}

async function describeSelf(): Promise<Holder> {
  return {
    boot: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => 'unknown')).trim(),
    pidNamespace: await readlink('/proc/self/ns/pid').catch(() => 'unknown'),
    pid: process.pid,
    started: await startTime(process.pid),
    nonce: randomBytes(8).toString('hex'),
  };
}

/** Field 22 of /proc/<pid>/stat; without /proc, only whether the process is there. */
async function startTime(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${String(pid)}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    try {
      process.kill(pid, 0);
      return 'unknown';
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'unknown' : 'gone';
    }
  }
}

function locked(path: string, holder: string): CaError {
  const { pid, adminSocket } = parseHolder(holder) ?? {};
  const instead = typeof adminSocket === 'string' ? `ask it at ${adminSocket}, or ` : '';
  const message = `the store is open in process ${String(pid ?? 'unknown')}; ${instead}stop it first. If it is certainly gone, remove ${path}`;
  return new CaError('CA_STORE_LOCKED', message, { fields: { pid, adminSocket } });
}
