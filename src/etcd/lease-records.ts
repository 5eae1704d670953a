/**
 * What the store keeps in etcd, as JSON.
 *
 * - `<prefix>leases/<name>`: who owns the name, and by which session. Written once per change of owner: the revision of that
 *   write is the fencing token.
 * - `<prefix>sessions/<id>`: one per store object and time-to-live, written anew at every renewal. A lease lives as long as
 *   its session: whoever takes a lease over deletes the session that had ended in the same transaction, so that its owner
 *   can renew none of its leases any more.
 * - `<prefix>offers/<name>`: the owner is about to give the lease of that fencing token back. `<prefix>successors/<name>`: who
 *   is to have it then, as the record that the owner will write into the lease; one, the first who answered. Both are gone with
 *   the release; what an owner that died leaves of them means nothing, and is overwritten.
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

/** An owner's word that it will give its lease back. */
export interface OfferRecord {
  /** Of the lease. */
  readonly fencingToken: bigint;
}

export type LeaseKeyKind = 'lease' | 'session' | 'offer' | 'successor';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

export class LeaseKeys {
  readonly prefix: Uint8Array;
  readonly #folders: readonly (readonly [LeaseKeyKind, string])[];

  constructor(prefix: string) {
    this.prefix = Buffer.from(prefix);
    this.#folders = (['lease', 'session', 'offer', 'successor'] as const).map((kind) => [kind, `${prefix}${kind}s/`]);
  }

  /** `name` is that of a lease, or a session's id. */
  of(kind: LeaseKeyKind, name: string): Uint8Array {
    return Buffer.from(`${text(this.prefix)}${kind}s/${name}`);
  }

  parse(key: Uint8Array): { readonly kind: LeaseKeyKind; readonly name: string } | undefined {
    const whole = text(key);
    for (const [kind, folder] of this.#folders) {
      if (whole.startsWith(folder)) return { kind, name: whole.slice(folder.length) };
    }
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

export function encodeOffer({ fencingToken }: OfferRecord): Uint8Array {
  return Buffer.from(JSON.stringify({ fencingToken: String(fencingToken) }));
}

/** Undefined for what no lease store wrote. */
export function decodeOffer(value: Uint8Array): OfferRecord | undefined {
  const { fencingToken } = parseObject(value);
  if (typeof fencingToken !== 'string' || !/^[0-9]{1,19}$/.test(fencingToken)) return undefined;
  return { fencingToken: BigInt(fencingToken) };
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
