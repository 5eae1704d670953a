/**
 * What the store keeps in etcd, as JSON.
 *
 * - `<prefix>leases/<name>`: who owns the name, and by which session. Written once per change of owner: the revision of that
 *   write is the fencing token.
 * - `<prefix>sessions/<id>`: one per store object and time-to-live, written anew at every renewal. A lease lives as long as
 *   its session: whoever takes a lease over deletes the session that had ended in the same transaction, so that its owner
 *   can renew none of its leases any more.
 */

export interface LeaseRecord {
  readonly holder: string;
  readonly session: string;
  readonly ttlMs: number;
  /** Tells one attempt to acquire from another. */
  readonly nonce: string;
}

export interface SessionRecord {
  readonly holder: string;
  readonly ttlMs: number;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

export class LeaseKeys {
  readonly prefix: Uint8Array;
  readonly #leases: string;
  readonly #sessions: string;

  constructor(prefix: string) {
    this.prefix = Buffer.from(prefix);
    this.#leases = `${prefix}leases/`;
    this.#sessions = `${prefix}sessions/`;
  }

  lease(name: string): Uint8Array {
    return Buffer.from(this.#leases + name);
  }

  session(id: string): Uint8Array {
    return Buffer.from(this.#sessions + id);
  }

  parse(key: Uint8Array): { readonly kind: 'lease' | 'session'; readonly name: string } | undefined {
    const whole = text(key);
    if (whole.startsWith(this.#leases)) return { kind: 'lease', name: whole.slice(this.#leases.length) };
    if (whole.startsWith(this.#sessions)) return { kind: 'session', name: whole.slice(this.#sessions.length) };
    return undefined;
  }
}

export function encodeRecord(record: LeaseRecord | SessionRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record));
}

/** Undefined for what no lease store wrote. */
export function decodeLease(value: Uint8Array): LeaseRecord | undefined {
  const fields = parseObject(value);
  const { holder, session, ttlMs, nonce } = fields;
  if (typeof holder !== 'string' || typeof session !== 'string' || typeof nonce !== 'string') return undefined;
  return isTtl(ttlMs) ? { holder, session, ttlMs, nonce } : undefined;
}

/** Undefined for what no lease store wrote. */
export function decodeSession(value: Uint8Array): SessionRecord | undefined {
  const { holder, ttlMs } = parseObject(value);
  return typeof holder === 'string' && isTtl(ttlMs) ? { holder, ttlMs } : undefined;
}

function isTtl(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

function parseObject(value: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text(value));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
