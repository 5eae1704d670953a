import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { CaError } from './errors.js';
import { SerialQueue } from './serial-queue.js';

const events = ['issued', 'refused', 'rotation', 'denied', 'allowed', 'repaired'] as const;

/** What happened: who asked for what, what came of it, and why. Never holds a key or a token. */
export interface AuditEntry {
  readonly event: (typeof events)[number];
  /** Such as `x509-svid`, `workload-token`, `join`, `root-activate`. */
  readonly operation: string;
  /** The verified identity that asked; `operator` for what was done in the CA's own process. */
  readonly who: string;
  /** What it is about: a SPIFFE ID, a key, an entry of the deny list. */
  readonly subject?: string | undefined;
  /** Serial number of the certificate, or `jti` of the token. */
  readonly serial?: string | undefined;
  readonly node?: string | undefined;
  readonly notAfter?: string | undefined;
  /** Of a refusal. */
  readonly code?: string | undefined;
  readonly why?: string | undefined;
}

const text = z.string().max(4096).optional();
const recordSchema = z.strictObject({
  sequence: z.number().int().min(1),
  at: z.iso.datetime(),
  event: z.enum(events),
  operation: z.string(),
  who: z.string(),
  subject: text,
  serial: text,
  node: text,
  notAfter: text,
  code: text,
  why: text,
  /** Hash of the record before this one; 64 zeros in the first. */
  previous: z.string().length(64),
  /** SHA-256 (hexadecimal) of this line's JSON without this member. */
  hash: z.string().length(64),
});

/** An entry as the log has it. */
export type AuditRecord = Readonly<z.output<typeof recordSchema>>;

/** Where a CA writes what it does. A CA whose log fails does nothing: `append` resolves once the record is kept. */
export interface AuditLog {
  append(entry: AuditEntry): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface AuditVerification {
  readonly records: number;
  /** Hash of the last record. Kept elsewhere, it shows later that nothing was cut off the end. */
  readonly head: string;
  /** The first and last times. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

const noHash = '0'.repeat(64);
const maxFieldLength = 2048;

/**
 * An append-only log in a file, one JSON object per line, each with the hash of the one before: a line that is changed,
 * left out or put in breaks the chain. Each record is synced to disk before the CA answers; those that come together are
 * written together. Opening verifies the whole chain; a last line cut short by a crash, which nobody was told of, is
 * taken off, and a record says so.
 *
 * Not guarded against: whoever can write the file can cut records off its end, or write it anew. Keep `head` elsewhere.
 * Throws `CA_AUDIT_BROKEN`, `CA_AUDIT_FAILED`.
 */
export async function fileAuditLog(options: {
  readonly file: string;
  readonly clock?: Clock | undefined;
}): Promise<AuditLog> {
  const { file: path, clock = systemClock } = options;
  const failed = (cause: unknown): CaError =>
    cause instanceof CaError
      ? cause
      : new CaError('CA_AUDIT_FAILED', `the audit log ${path} cannot be kept`, { cause });
  const file = await open(path, 'a+', 0o600).catch((cause: unknown) => {
    throw failed(cause);
  });
  let chain: Chain;
  let torn = 0;
  try {
    const bytes = await readFile(path);
    const whole = bytes.lastIndexOf(0x0a) + 1;
    chain = verifyChain(bytes.subarray(0, whole).toString('utf8'));
    torn = bytes.length - whole;
    if (torn > 0) await file.truncate(whole);
  } catch (cause) {
    await file.close();
    throw failed(cause);
  }

  const queue = new SerialQueue();
  let waiting: AuditEntry[] = [];
  let broken: CaError | undefined;
  let closed: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    if (broken !== undefined) throw broken;
    const batch = waiting;
    waiting = [];
    if (batch.length === 0) return;
    let next = chain;
    let lines = '';
    for (const entry of batch) {
      const record = toRecord(next, entry, new Date(clock.now()));
      lines += `${JSON.stringify(record)}\n`;
      next = { records: record.sequence, head: record.hash };
    }
    try {
      await file.appendFile(lines);
      await file.datasync();
      chain = next;
    } catch (cause) {
      // What is in the file now is not known; opening it again finds out.
      broken = failed(cause);
      throw broken;
    }
  };
  const log: AuditLog = {
    append: (entry) => {
      if (closed !== undefined) return Promise.reject(new CaError('CA_CLOSED', 'the audit log is closed'));
      waiting.push(entry);
      return queue.run(flush);
    },
    close: () => {
      closed ??= queue.run(() => file.close());
      return closed;
    },
  };
  if (torn > 0) {
    const why = `${String(torn)} bytes of an unfinished record were taken off`;
    await log.append({ event: 'repaired', operation: 'audit-log', who: 'operator', why });
  }
  return Object.freeze(log);
}

/**
 * Checks every record of a log. `expectHead` also shows that nothing was cut off since that hash was the last.
 * Throws `CA_AUDIT_BROKEN`, naming the line.
 */
export function verifyAuditLog(
  text: string,
  options: { readonly expectHead?: string | undefined } = {},
): AuditVerification {
  const { expectHead } = options;
  if (text !== '' && !text.endsWith('\n')) throw brokenAt(text.split('\n').length, 'it is not finished');
  const chain = verifyChain(text);
  if (expectHead !== undefined && expectHead !== chain.head && !chain.hashes?.has(expectHead)) {
    throw new CaError('CA_AUDIT_BROKEN', `no record has the hash ${expectHead}: records were cut off or written anew`);
  }
  return { records: chain.records, head: chain.head, from: chain.from, to: chain.to };
}

/** The records of a log, after its chain was verified. Throws `CA_AUDIT_BROKEN`. */
export function readAuditLog(text: string): readonly AuditRecord[] {
  verifyAuditLog(text);
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => recordSchema.parse(JSON.parse(line)));
}

interface Chain {
  readonly records: number;
  readonly head: string;
  readonly hashes?: ReadonlySet<string>;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

function verifyChain(text: string): Chain {
  let head = noHash;
  let records = 0;
  let from: string | undefined;
  let to: string | undefined;
  const hashes = new Set<string>();
  for (const line of text.split('\n').slice(0, -1)) {
    records += 1;
    let record: AuditRecord;
    try {
      record = recordSchema.parse(JSON.parse(line));
    } catch {
      throw brokenAt(records, 'it is no audit record');
    }
    // The very text, not only its meaning.
    if (JSON.stringify(record) !== line) throw brokenAt(records, 'it is not written as this program writes it');
    if (record.sequence !== records) throw brokenAt(records, `its sequence number is ${String(record.sequence)}`);
    if (record.previous !== head) throw brokenAt(records, 'it does not follow from the record before it');
    if (record.hash !== hashOf(record)) throw brokenAt(records, 'its hash is not that of its content');
    head = record.hash;
    hashes.add(head);
    from ??= record.at;
    to = record.at;
  }
  return { records, head, hashes, from, to };
}

function toRecord({ records, head }: Chain, entry: AuditEntry, at: Date): AuditRecord {
  const { event, operation, who, subject, serial, node, notAfter, code, why } = entry;
  const short = (value: string | undefined): string | undefined => value?.slice(0, maxFieldLength);
  // In the order of the schema, which is the order of the line.
  const record = {
    sequence: records + 1,
    at: at.toISOString(),
    event,
    operation,
    who,
    subject: short(subject),
    serial,
    node: short(node),
    notAfter,
    code,
    why: short(why),
    previous: head,
    hash: '',
  };
  return { ...record, hash: hashOf(record) };
}

function hashOf(record: AuditRecord): string {
  const { hash: _, ...content } = record;
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}

const brokenAt = (line: number, why: string): CaError =>
  new CaError('CA_AUDIT_BROKEN', `the audit log is broken at line ${String(line)}: ${why}`);
