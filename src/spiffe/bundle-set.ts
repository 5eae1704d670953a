import { SpiffeError } from './errors.js';
import type { TrustBundle } from './trust-bundle.js';
import { TrustDomain } from './trust-domain.js';

/**
 * The bundles of several trust domains, one of each: what a federated mesh trusts. A peer is verified against the bundle
 * of its own trust domain and no other, so that an authority of one domain can never speak for another. Immutable.
 *
 * @example
 * const trusted = BundleSet.of(bundle, TrustBundle.parse(document, 'partner.example'));
 * verifyX509Svid({ certificates, bundle: trusted, now });
 */
export class BundleSet implements Iterable<TrustBundle> {
  readonly #bundles: ReadonlyMap<string, TrustBundle>;

  private constructor(bundles: ReadonlyMap<string, TrustBundle>) {
    this.#bundles = bundles;
    Object.freeze(this);
  }

  /** Throws `SPIFFE_BUNDLE_AMBIGUOUS` for two bundles of one trust domain. An empty set trusts nobody. */
  static of(...bundles: readonly TrustBundle[]): BundleSet {
    const byName = new Map<string, TrustBundle>();
    for (const bundle of bundles) {
      const { name } = bundle.trustDomain;
      if (byName.has(name)) {
        throw new SpiffeError('SPIFFE_BUNDLE_AMBIGUOUS', `expected one bundle of trust domain ${name}, got several`);
      }
      byName.set(name, bundle);
    }
    return new BundleSet(byName);
  }

  /** The bundle of that trust domain. Throws `SPIFFE_TRUST_DOMAIN_MALFORMED`. */
  get(trustDomain: string | TrustDomain): TrustBundle | undefined {
    return this.#bundles.get(nameOf(trustDomain));
  }

  /** In the order in which they were added. */
  get trustDomains(): readonly TrustDomain[] {
    return Array.from(this.#bundles.values(), (bundle) => bundle.trustDomain);
  }

  get size(): number {
    return this.#bundles.size;
  }

  /** This set with `bundle` in the place of the one of its trust domain, or added. */
  with(bundle: TrustBundle): BundleSet {
    return new BundleSet(new Map(this.#bundles).set(bundle.trustDomain.name, bundle));
  }

  /** This set without that trust domain. Throws `SPIFFE_TRUST_DOMAIN_MALFORMED`. */
  without(trustDomain: string | TrustDomain): BundleSet {
    const rest = new Map(this.#bundles);
    rest.delete(nameOf(trustDomain));
    return new BundleSet(rest);
  }

  /** The same trust domains, in any order, with equal bundles (`TrustBundle.equals`). */
  equals(other: BundleSet): boolean {
    return this.size === other.size && [...this].every((bundle) => other.get(bundle.trustDomain)?.equals(bundle));
  }

  [Symbol.iterator](): Iterator<TrustBundle> {
    return this.#bundles.values();
  }

  /** Trust domain name to bundle document. */
  toJSON(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(this.#bundles);
  }
}

/** The bundle that identities of `trustDomain` are verified against; undefined when it is not trusted. */
export function bundleFor(trusted: TrustBundle | BundleSet, trustDomain: TrustDomain): TrustBundle | undefined {
  if (trusted instanceof BundleSet) return trusted.get(trustDomain);
  return trusted.trustDomain.equals(trustDomain) ? trusted : undefined;
}

/** The PEM of every X.509 authority. */
export function authoritiesPem(trusted: TrustBundle | BundleSet): readonly string[] {
  const bundles = trusted instanceof BundleSet ? [...trusted] : [trusted];
  return bundles.flatMap((bundle) => bundle.x509AuthoritiesPem);
}

/** The trusted names for an error message, bounded. */
export function trustedNames(trusted: TrustBundle | BundleSet): string {
  if (!(trusted instanceof BundleSet)) return trusted.trustDomain.name;
  const names = trusted.trustDomains.map((domain) => domain.name);
  if (names.length === 0) return 'none (the bundle set is empty)';
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} or ${String(names.length - 5)} more` : names.join(' or ');
}

function nameOf(trustDomain: string | TrustDomain): string {
  return typeof trustDomain === 'string' ? TrustDomain.parse(trustDomain).name : trustDomain.name;
}
