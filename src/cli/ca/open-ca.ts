import { mkdir } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { SpiffeCA, caAdminCalls, fileAuditLog, fileStore } from '../../ca/index.js';
import type { CaAdminCall, FileAuditLog, SpiffeCACreateOptions, StoreKeySource } from '../../ca/index.js';
import { isMeshwrightError } from '../../core/index.js';
import { callAdmin } from '../../mesh/index.js';

export interface StoreFlags {
  readonly store: string;
  readonly keyFile?: string;
  readonly json?: true;
}

/** Of commands that a running controller can carry out as well. */
export interface CaFlags extends Omit<StoreFlags, 'store'> {
  readonly store?: string;
  readonly controller?: string;
}

/** The options of a command that opens the CA itself. */
export function withStore(command: Command): Command {
  return command
    .requiredOption('--store <directory>', 'where the CA is kept')
    .option('--key-file <file>', 'key that encrypts the store (0600) (default: "<directory>.key")')
    .option('--json', 'print one JSON object');
}

/** The options of a command that finds its CA in a directory or at a running controller. */
export function withCaOptions(command: Command): Command {
  return command
    .option('--store <directory>', 'where the CA is kept; if a controller has it open, that is asked')
    .option('--controller <socket>', 'ask the running controller at its admin socket')
    .option('--key-file <file>', 'key that encrypts the store (0600) (default: "<directory>.key")')
    .option('--json', 'print one JSON object');
}

export function storeKey(flags: StoreFlags, createIfMissing = false): StoreKeySource {
  return { file: flags.keyFile ?? `${flags.store.replace(/\/+$/, '')}.key`, createIfMissing };
}

export const auditFile = (store: string): string => join(store, 'audit.jsonl');

/** Who does what this process does, for the audit log. */
export function operator(): string {
  return `operator ${userInfo().username}`;
}

export async function createCa(
  flags: StoreFlags,
  options: Omit<SpiffeCACreateOptions, 'store' | 'audit'>,
): Promise<SpiffeCA> {
  await mkdir(flags.store, { recursive: true, mode: 0o700 });
  const store = fileStore({ directory: flags.store, key: storeKey(flags, true) });
  return SpiffeCA.create({ ...options, store, audit: () => fileAuditLog({ file: auditFile(flags.store) }) });
}

/** Opens the CA for `use` and closes it again, whatever happens. */
export async function withCa<T>(
  flags: StoreFlags,
  use: (ca: SpiffeCA, audit: FileAuditLog | undefined) => Promise<T>,
): Promise<T> {
  let log: FileAuditLog | undefined;
  const store = fileStore({ directory: flags.store, key: storeKey(flags) });
  const audit = async (): Promise<FileAuditLog> => (log = await fileAuditLog({ file: auditFile(flags.store) }));
  const ca = await SpiffeCA.open({ store, audit });
  try {
    return await use(ca, log);
  } finally {
    await ca.close();
  }
}

/**
 * Makes one call of an administrator to the CA that the flags name, wherever it is: at a running controller, or in its
 * store, which is opened for it. A store that a controller has open leads to that controller. The answer is plain JSON.
 */
export async function callCa(flags: CaFlags, call: CaAdminCall, request: unknown = {}): Promise<unknown> {
  const { store, controller } = flags;
  if (controller !== undefined && store === undefined) return callAdmin(controller, call, request);
  if (store === undefined || controller !== undefined)
    throw new Error('expected exactly one of --store and --controller');
  try {
    return await withCa({ ...flags, store }, async (ca, audit) => {
      const answer = await caAdminCalls({ ca, audit, who: operator() })[call](request);
      // As it would come from a controller.
      return JSON.parse(JSON.stringify(answer)) as unknown;
    });
  } catch (error) {
    const adminSocket = isMeshwrightError(error, 'CA_STORE_LOCKED') ? error.fields['adminSocket'] : undefined;
    if (typeof adminSocket !== 'string') throw error;
    return callAdmin(adminSocket, call, request);
  }
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `24h` or `365d`, in ms. */
export function duration(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const unitMs = units[unit];
  if (unitMs === undefined) throw new InvalidArgumentError('expected a duration such as 90s, 30m, 24h or 365d');
  return Number(count) * unitMs;
}
