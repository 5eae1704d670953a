import { open, rename, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { syncDirectory } from '../internal/atomic-file.js';
import { ChainReader, fullFiles, fullName } from './audit-files.js';
import { nextRecord, noRecords } from './audit-record.js';
import type { AuditEntry, ChainEnd } from './audit-record.js';
import { CaError } from './errors.js';
import { SerialQueue } from './serial-queue.js';

/** Where a CA writes what it does. A CA whose log fails does nothing: `append` resolves once the record is kept. */
export interface AuditLog {
  append(entry: AuditEntry): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** An audit log in a file. */
export interface FileAuditLog extends AuditLog {
  readonly file: string;
  /** The last record: its hash, kept elsewhere, shows later that nothing was cut off the end. */
  readonly end: ChainEnd;
}

export interface FileAuditLogOptions {
  /** Made (0600) when missing; its directory must be there. */
  readonly file: string;
  /**
   * A file that has this many bytes is full: it is renamed by its first record, as `audit.000000000001.jsonl`, and a new one
   * goes on with the chain. 1 or more; default 64 MiB.
   */
  readonly maxBytes?: number | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * An append-only log in a file, one JSON object per line, each with the hash of the one before: a line that is changed,
 * left out or put in breaks the chain. Each record is synced to disk before the CA answers; those that come together are
 * written together. Opening verifies the file that is not full yet, and that it follows on the newest full one; a last
 * line cut short by a crash, which nobody was told of, is taken off, and a record says so. `verifyAuditLog` verifies all.
 *
 * Full files may be taken away, oldest first. One process at a time: the lock of the CA's store sees to that.
 *
 * Not guarded against: whoever can write the files can cut records off the end, or write them anew. Keep `end` elsewhere.
 * Throws `CA_AUDIT_BROKEN`, `CA_AUDIT_FAILED`, `CA_REQUEST_INVALID`.
 */
export async function fileAuditLog(options: FileAuditLogOptions): Promise<FileAuditLog> {
  const { file, clock = systemClock, maxBytes = 64 * 1024 * 1024 } = options;
  if (!(maxBytes >= 1))
    throw new CaError('CA_REQUEST_INVALID', `expected maxBytes of 1 or more, got ${String(maxBytes)}`);
  const found = await openChain(file).catch((cause: unknown) => {
    throw failed(file, cause);
  });
  const log = new Log({ file, clock, maxBytes }, found);
  if (found.tornBytes > 0) {
    const why = `${String(found.tornBytes)} bytes of an unfinished record were taken off`;
    await log.append({ event: 'repaired', operation: 'audit-log', who: 'operator', why });
  }
  return log;
}

interface OpenChain {
  readonly handle: FileHandle;
  readonly end: ChainEnd;
  /** Of the file that is open; undefined while it is empty. */
  readonly firstSequence: number | undefined;
  readonly bytes: number;
  readonly tornBytes: number;
}

class Log implements FileAuditLog {
  readonly #options: { readonly file: string; readonly clock: Clock; readonly maxBytes: number };
  readonly #queue = new SerialQueue();
  #handle: FileHandle;
  #end: ChainEnd;
  #firstSequence: number | undefined;
  #bytes: number;
  #waiting: AuditEntry[] = [];
  #broken: CaError | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: { readonly file: string; readonly clock: Clock; readonly maxBytes: number }, found: OpenChain) {
    this.#options = options;
    this.#handle = found.handle;
    this.#end = found.end;
    this.#firstSequence = found.firstSequence;
    this.#bytes = found.bytes;
  }

  get file(): string {
    return this.#options.file;
  }

  get end(): ChainEnd {
    return this.#end;
  }

  append(entry: AuditEntry): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new CaError('CA_CLOSED', 'the audit log is closed'));
    this.#waiting.push(entry);
    return this.#queue.run(() => this.#flush());
  }

  close(): Promise<void> {
    this.#closed ??= this.#queue.run(() => this.#handle.close());
    return this.#closed;
  }

  async #flush(): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    let end = this.#end;
    let lines = '';
    for (const entry of batch) {
      const record = nextRecord(end, entry, new Date(this.#options.clock.now()));
      lines += `${JSON.stringify(record)}\n`;
      end = { sequence: record.sequence, head: record.hash };
    }
    try {
      if (this.#bytes >= this.#options.maxBytes) await this.#begin();
      await this.#handle.appendFile(lines);
      await this.#handle.datasync();
      this.#firstSequence ??= this.#end.sequence + 1;
      this.#bytes += Buffer.byteLength(lines);
      this.#end = end;
    } catch (cause) {
      // What is in the file now is not known; opening it again finds out.
      this.#broken = failed(this.file, cause);
      throw this.#broken;
    }
  }

  /** Puts the full file aside and begins another. */
  async #begin(): Promise<void> {
    const { file } = this.#options;
    await this.#handle.close();
    await rename(file, fullName(file, this.#firstSequence ?? 1));
    this.#handle = await open(file, 'ax', 0o600);
    await syncDirectory(dirname(file));
    this.#bytes = 0;
    this.#firstSequence = undefined;
  }
}

async function openChain(file: string): Promise<OpenChain> {
  const before = await lastEnd(await fullFiles(file));
  const handle = await open(file, 'a+', 0o600);
  try {
    const reader = new ChainReader(before);
    let firstSequence: number | undefined;
    for await (const record of reader.read(file)) firstSequence ??= record.sequence;
    const { size } = await stat(file);
    const bytes = size - reader.unfinishedBytes;
    if (reader.unfinishedBytes > 0) await handle.truncate(bytes);
    return { handle, end: reader.end, firstSequence, bytes, tornBytes: reader.unfinishedBytes };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The end of the newest full file. */
async function lastEnd(files: readonly string[]): Promise<ChainEnd> {
  const newest = files.at(-1);
  if (newest === undefined) return noRecords;
  const reader = new ChainReader(undefined);
  for await (const _ of reader.read(newest));
  return reader.end;
}

const failed = (file: string, cause: unknown): CaError =>
  cause instanceof CaError ? cause : new CaError('CA_AUDIT_FAILED', `the audit log ${file} cannot be kept`, { cause });
