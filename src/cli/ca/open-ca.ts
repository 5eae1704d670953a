import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { SpiffeCA, fileAuditLog, fileStore } from '../../ca/index.js';
import type { SpiffeCACreateOptions, StoreKeySource } from '../../ca/index.js';

export interface StoreFlags {
  readonly store: string;
  readonly keyFile?: string;
  readonly json?: true;
}

/** The options with which every `meshwright ca` command finds its CA. */
export function withStore(command: Command): Command {
  return command
    .requiredOption('--store <directory>', 'where the CA is kept')
    .option('--key-file <file>', 'key that encrypts the store (0600) (default: "<directory>.key")')
    .option('--json', 'print one JSON object');
}

export function storeKey(flags: StoreFlags, createIfMissing = false): StoreKeySource {
  return { file: flags.keyFile ?? `${flags.store.replace(/\/+$/, '')}.key`, createIfMissing };
}

export const auditFile = (flags: StoreFlags): string => join(flags.store, 'audit.jsonl');

export async function createCa(
  flags: StoreFlags,
  options: Omit<SpiffeCACreateOptions, 'store' | 'audit'>,
): Promise<SpiffeCA> {
  await mkdir(flags.store, { recursive: true, mode: 0o700 });
  const store = fileStore({ directory: flags.store, key: storeKey(flags, true) });
  return withAudit(flags, (audit) => SpiffeCA.create({ ...options, store, audit }));
}

/** Opens the CA for `use` and closes it again, whatever happens. */
export async function withCa<T>(flags: StoreFlags, use: (ca: SpiffeCA) => Promise<T>): Promise<T> {
  const store = fileStore({ directory: flags.store, key: storeKey(flags) });
  const ca = await withAudit(flags, (audit) => SpiffeCA.open({ store, audit }));
  try {
    return await use(ca);
  } finally {
    await ca.close();
  }
}

/**
 * The log is opened at the first record only: by then the store is locked, and two processes never write one log.
 */
async function withAudit(
  flags: StoreFlags,
  open: (audit: NonNullable<SpiffeCACreateOptions['audit']>) => Promise<SpiffeCA>,
): Promise<SpiffeCA> {
  let log: ReturnType<typeof fileAuditLog> | undefined;
  const audit = {
    append: async (entry: Parameters<Awaited<ReturnType<typeof fileAuditLog>>['append']>[0]) => {
      log ??= fileAuditLog({ file: auditFile(flags) });
      await (await log).append(entry);
    },
    close: async () => {
      await (await log)?.close();
    },
  };
  return open(audit);
}

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `24h` or `365d`, in ms. */
export function duration(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const unitMs = units[unit];
  if (unitMs === undefined) throw new InvalidArgumentError('expected a duration such as 90s, 30m, 24h or 365d');
  return Number(count) * unitMs;
}
