import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CaError } from './errors.js';

const events = ['issued', 'refused', 'rotation', 'denied', 'allowed', 'repaired'] as const;

/** What happened: who asked for what, what came of it, and why. Never holds a key or a token. */
export interface AuditEntry {
  readonly event: (typeof events)[number];
  /** Such as `x509-svid`, `workload-token`, `join-token`, `join`, `root-activate`. */
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

/** How far a chain of records goes. */
export interface ChainEnd {
  /** Sequence number of the last record; 0 before the first. */
  readonly sequence: number;
  /** Its hash. */
  readonly head: string;
}

export const noRecords: ChainEnd = Object.freeze({ sequence: 0, head: '0'.repeat(64) });
const maxFieldLength = 2048;

/** The record of `entry` that follows on `end`. */
export function nextRecord(end: ChainEnd, entry: AuditEntry, at: Date): AuditRecord {
  const { event, operation, who, subject, serial, node, notAfter, code, why } = entry;
  const short = (value: string | undefined): string | undefined => value?.slice(0, maxFieldLength);
  // In the order of the schema, which is the order of the line.
  const record = {
    sequence: end.sequence + 1,
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
    previous: end.head,
    hash: '',
  };
  return { ...record, hash: hashOf(record) };
}

/**
 * The record in `line`, which must follow on `end`; without `end` it may be any, as the first of a file whose earlier ones
 * are elsewhere. `where` names the line for the message. Throws `CA_AUDIT_BROKEN`.
 */
export function readRecord(line: string, end: ChainEnd | undefined, where: string): AuditRecord {
  const broken = (why: string): CaError =>
    new CaError('CA_AUDIT_BROKEN', `the audit log is broken at ${where}: ${why}`);
  let record: AuditRecord;
  try {
    record = recordSchema.parse(JSON.parse(line));
  } catch {
    throw broken('it is no audit record');
  }
  // The very text, not only its meaning.
  if (JSON.stringify(record) !== line) throw broken('it is not written as this program writes it');
  if (end !== undefined && record.sequence !== end.sequence + 1) {
    throw broken(`its sequence number is ${String(record.sequence)}, after ${String(end.sequence)}`);
  }
  if (end !== undefined && record.previous !== end.head) {
    throw broken('it does not follow from the record before it');
  }
  if (record.hash !== hashOf(record)) throw broken('its hash is not that of its content');
  return record;
}

function hashOf(record: AuditRecord): string {
  const { hash: _, ...content } = record;
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}
