import { createHash } from 'node:crypto';
import { SnapshotError } from './errors.js';

const maxDepth = 200;

/**
 * JSON with one form for one content (RFC 8785): keys sorted by UTF-16 code units, no white space, numbers as
 * ECMAScript writes them. Fields that are `undefined` are left out, as JSON does. Throws `SNAPSHOT_NOT_JSON` for what
 * JSON cannot say, instead of saying something else.
 */
export function canonicalJson(value: unknown): string {
  return write(value, '', 0);
}

/** SHA-256 of the canonical JSON of `value` as lower-case hex: the same for the same content, whatever the key order. */
export function contentHash(value: unknown): string {
  return sha256Hex(Buffer.from(canonicalJson(value)));
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function write(value: unknown, path: string, depth: number): string {
  const refuse = (what: string): SnapshotError =>
    new SnapshotError('SNAPSHOT_NOT_JSON', `expected plain JSON at ${path === '' ? 'the top' : path}, got ${what}`, {
      fields: { path },
    });
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw refuse(String(value));
    return JSON.stringify(value);
  }
  if (typeof value !== 'object') throw refuse(value === undefined ? 'undefined' : `a ${typeof value}`);
  if (depth >= maxDepth) throw refuse(`nesting deeper than ${String(maxDepth)}, or a cycle`);
  if (Array.isArray(value)) {
    // Array.from, since map and join would pass over holes.
    return `[${Array.from(value, (item: unknown, index) => write(item, `${path}[${String(index)}]`, depth + 1)).join(',')}]`;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refuse(`an instance of ${className(prototype)}`);
  const fields: string[] = [];
  const record = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(record).sort()) {
    const field = record[key];
    if (field === undefined) continue;
    fields.push(`${JSON.stringify(key)}:${write(field, path === '' ? key : `${path}.${key}`, depth + 1)}`);
  }
  return `{${fields.join(',')}}`;
}

function className(prototype: unknown): string {
  const { constructor } = prototype as { constructor?: { name?: string } };
  return constructor?.name ?? 'a class';
}
