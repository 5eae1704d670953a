import { SpiffeError } from './errors.js';
import { shown } from '../internal/shown.js';

/**
 * The name of a trust domain (SPIFFE-ID standard, section 2.1): 1 to 255 of `a-z 0-9 . - _`. Opaque: made by `parse`
 * only, so one that exists is valid.
 */
export class TrustDomain {
  readonly name: string;
  // Makes the type nominal: nothing else is assignable to it.
  readonly #parsed = true;

  private constructor(name: string) {
    this.name = name;
    Object.freeze(this);
  }

  /** Parses a bare name such as `cluster.local`. Throws `SPIFFE_TRUST_DOMAIN_MALFORMED`. */
  static parse(name: string): TrustDomain {
    if (typeof name !== 'string' || !/^[a-z0-9._-]{1,255}$/.test(name)) {
      throw new SpiffeError(
        'SPIFFE_TRUST_DOMAIN_MALFORMED',
        `expected a trust domain of 1 to 255 characters of a-z, 0-9, dot, dash and underscore, such as cluster.local, got ${shown(name)}`,
      );
    }
    return new TrustDomain(name);
  }

  equals(other: TrustDomain): boolean {
    return this.#parsed && this.name === other.name;
  }

  toString(): string {
    return this.name;
  }

  toJSON(): string {
    return this.name;
  }
}
