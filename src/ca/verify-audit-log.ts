import { stat } from 'node:fs/promises';
import { ChainReader, fullFiles, fullName } from './audit-files.js';
import { noRecords } from './audit-record.js';
import type { AuditRecord } from './audit-record.js';
import { CaError } from './errors.js';

export interface AuditVerification {
  readonly records: number;
  /** Hash of the last record. Kept elsewhere, it shows later that nothing was cut off the end. */
  readonly head: string;
  /** Sequence number of the first record there is; more than 1 where older files were taken away. */
  readonly firstSequence: number;
  /** The first and last times. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  /** Bytes of a record at the end that is not whole: being written now, or cut short by a crash. They count for nothing. */
  readonly unfinishedBytes: number;
}

/**
 * Checks every record of the log in `file`, its full files included, oldest first. `expectHead` also shows that nothing was
 * cut off since that hash was the last. The log may be in use meanwhile. Throws `CA_AUDIT_BROKEN`, naming the line, and
 * `CA_AUDIT_FAILED` when it cannot be read.
 */
export async function verifyAuditLog(
  file: string,
  options: { readonly expectHead?: string | undefined } = {},
): Promise<AuditVerification> {
  const { expectHead } = options;
  const walk = new Walk(file);
  let records = 0;
  let first: AuditRecord | undefined;
  let last: AuditRecord | undefined;
  let found = expectHead === undefined || expectHead === noRecords.head;
  for await (const record of walk.records()) {
    records += 1;
    first ??= record;
    last = record;
    found ||= record.hash === expectHead;
  }
  if (!found) {
    throw new CaError(
      'CA_AUDIT_BROKEN',
      `no record has the hash ${String(expectHead)}: records were cut off or written anew`,
    );
  }
  return {
    records,
    head: last?.hash ?? noRecords.head,
    firstSequence: first?.sequence ?? 1,
    from: first?.at,
    to: last?.at,
    unfinishedBytes: walk.unfinishedBytes,
  };
}

/** The records of the log in `file`, oldest first, each after its place in the chain was checked. Throws as `verifyAuditLog`. */
export function readAuditLog(file: string): AsyncIterable<AuditRecord> {
  return new Walk(file).records();
}

class Walk {
  unfinishedBytes = 0;
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  async *records(): AsyncGenerator<AuditRecord> {
    try {
      const files = await this.#files();
      const [oldest] = files;
      // Older files may have been taken away: then the name of the first one says where it begins.
      const taken = oldest !== undefined && oldest !== this.#file && oldest !== fullName(this.#file, 1);
      let first = true;
      const reader = new ChainReader(taken ? undefined : noRecords);
      for (const file of files) {
        for await (const record of reader.read(file)) {
          if (file === oldest && taken && first && file !== fullName(this.#file, record.sequence)) {
            throw new CaError('CA_AUDIT_BROKEN', `the audit log is broken: ${file} begins with another record`);
          }
          first = false;
          yield record;
        }
        this.unfinishedBytes = reader.unfinishedBytes;
        if (file !== files.at(-1) && reader.unfinishedBytes > 0) {
          throw new CaError('CA_AUDIT_BROKEN', `the audit log is broken: ${file} ends within a record`);
        }
      }
    } catch (cause) {
      if (cause instanceof CaError) throw cause;
      throw new CaError('CA_AUDIT_FAILED', `the audit log ${this.#file} cannot be read`, { cause });
    }
  }

  async #files(): Promise<readonly string[]> {
    const full = await fullFiles(this.#file);
    const current = await stat(this.#file).catch((error: unknown) => {
      // Missing for a moment whenever a file is full.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && full.length > 0) return undefined;
      throw error;
    });
    return current === undefined ? full : [...full, this.#file];
  }
}
