import { SpiffeError } from './errors.js';
import { shown } from '../internal/shown.js';
import { TrustDomain } from './trust-domain.js';

const scheme = 'spiffe://';
/** SPIFFE-ID standard, section 2.3. */
const maxBytes = 2048;

/**
 * A SPIFFE ID, to the letter of the SPIFFE-ID standard: `spiffe://`, a trust domain, then segments of
 * `a-z A-Z 0-9 . - _` each after a slash; no empty or dot segments, trailing slash, user information, port, query,
 * fragment or percent-encoding. Opaque and canonical: two IDs are equal exactly when their text is.
 */
export class SpiffeId {
  readonly trustDomain: TrustDomain;
  /** Empty, or begins with a slash. */
  readonly path: string;
  readonly #text: string;

  private constructor(trustDomain: TrustDomain, path: string) {
    this.trustDomain = trustDomain;
    this.path = path;
    this.#text = `${scheme}${trustDomain.name}${path}`;
    Object.freeze(this);
  }

  /** Parses the full URI. Throws `SPIFFE_ID_MALFORMED`. */
  static parse(uri: string): SpiffeId {
    if (typeof uri !== 'string') throw malformed(uri, 'it is not a string');
    // Every character allowed is one byte; a longer one is refused below all the same.
    if (uri.length > maxBytes) throw malformed(uri, `it is longer than ${String(maxBytes)} bytes`);
    if (!uri.startsWith(scheme)) throw malformed(uri, 'it does not begin with spiffe:// in lower case');
    const slash = uri.indexOf('/', scheme.length);
    const name = slash < 0 ? uri.slice(scheme.length) : uri.slice(scheme.length, slash);
    const path = slash < 0 ? '' : uri.slice(slash);
    let trustDomain: TrustDomain;
    try {
      trustDomain = TrustDomain.parse(name);
    } catch (cause) {
      throw malformed(uri, 'its trust domain is not 1 to 255 characters of a-z, 0-9, dot, dash and underscore', cause);
    }
    const fault = pathFault(path);
    if (fault !== undefined) throw malformed(uri, fault);
    return new SpiffeId(trustDomain, path);
  }

  /** Builds one from segments, such as `('ns', 'shop', 'sa', 'web')`. Throws `SPIFFE_ID_MALFORMED`. */
  static fromSegments(trustDomain: TrustDomain, ...segments: readonly string[]): SpiffeId {
    for (const segment of segments) {
      const fault = segmentFault(segment);
      if (fault !== undefined) throw malformed(segment, `as a path segment, ${fault}`);
    }
    const id = new SpiffeId(trustDomain, segments.map((segment) => `/${segment}`).join(''));
    if (id.#text.length > maxBytes) throw malformed(id.#text, `it is longer than ${String(maxBytes)} bytes`);
    return id;
  }

  /** The path's segments; empty for a trust domain's own ID. */
  get segments(): readonly string[] {
    return this.path === '' ? [] : this.path.slice(1).split('/');
  }

  memberOf(trustDomain: TrustDomain): boolean {
    return this.trustDomain.equals(trustDomain);
  }

  equals(other: SpiffeId): boolean {
    return this.#text === other.#text;
  }

  toString(): string {
    return this.#text;
  }

  toJSON(): string {
    return this.#text;
  }
}

function malformed(got: unknown, why: string, cause?: unknown): SpiffeError {
  return new SpiffeError(
    'SPIFFE_ID_MALFORMED',
    `expected a SPIFFE ID such as spiffe://cluster.local/ns/shop/sa/web, got ${shown(got)}: ${why}`,
    { cause },
  );
}

function pathFault(path: string): string | undefined {
  if (path === '') return undefined;
  for (const segment of path.slice(1).split('/')) {
    const fault = segmentFault(segment);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function segmentFault(segment: string): string | undefined {
  if (segment === '') return 'it has an empty segment or ends in a slash';
  if (segment === '.' || segment === '..') return 'it has a dot segment';
  // `$` alone would let a trailing newline pass in some dialects; JavaScript's does not, and a test holds it to that.
  return /^[a-zA-Z0-9._-]+$/.test(segment)
    ? undefined
    : 'it has characters other than letters, digits, dot, dash and underscore';
}
