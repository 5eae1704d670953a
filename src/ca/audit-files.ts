import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { noRecords, readRecord } from './audit-record.js';
import type { AuditRecord, ChainEnd } from './audit-record.js';
import { CaError } from './errors.js';

/** No record is nearly as long. */
const maxLineBytes = 256 * 1024;
const newline = 0x0a;

/** The name that `file` is given when it is full: that of its first record, as in `audit.000000000001.jsonl`. */
export function fullName(file: string, firstSequence: number): string {
  const extension = extname(file);
  const stem = basename(file, extension);
  return join(dirname(file), `${stem}.${String(firstSequence).padStart(12, '0')}${extension}`);
}

/** The full files of the log in `file`, oldest first. */
export async function fullFiles(file: string): Promise<readonly string[]> {
  const extension = extname(file);
  const stem = basename(file, extension);
  const names = await readdir(dirname(file));
  const isFull = (name: string): boolean =>
    name.startsWith(`${stem}.`) &&
    name.endsWith(extension) &&
    /^\d{12}$/.test(name.slice(stem.length + 1, -extension.length || undefined));
  return names
    .filter(isFull)
    .sort()
    .map((name) => join(dirname(file), name));
}

/** Where a reader of records is. */
export class ChainReader {
  /** Bytes after the last whole line of the file that was read last. */
  unfinishedBytes = 0;
  #end: ChainEnd | undefined;

  /** `after`: what the first record must follow on; without it any may be the first. */
  constructor(after: ChainEnd | undefined) {
    this.#end = after;
  }

  get end(): ChainEnd {
    return this.#end ?? noRecords;
  }

  /** The records of one file, each checked against the one before. Throws `CA_AUDIT_BROKEN`, naming file and line. */
  async *read(file: string): AsyncGenerator<AuditRecord> {
    let number = 0;
    for await (const line of this.#lines(file)) {
      number += 1;
      const record = readRecord(line, this.#end, `line ${String(number)} of ${basename(file)}`);
      this.#end = { sequence: record.sequence, head: record.hash };
      yield record;
    }
  }

  async *#lines(file: string): AsyncGenerator<string> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 })) {
      const bytes = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      let from = 0;
      for (let at = bytes.indexOf(newline, from); at !== -1; at = bytes.indexOf(newline, from)) {
        yield bytes.toString('utf8', from, at);
        from = at + 1;
      }
      rest = bytes.subarray(from);
      if (rest.length > maxLineBytes) {
        throw new CaError('CA_AUDIT_BROKEN', `the audit log is broken: ${basename(file)} has a line that is no record`);
      }
    }
    this.unfinishedBytes = rest.length;
  }
}
