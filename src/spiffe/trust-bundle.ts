import { X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readPem, writePem } from '../internal/der/pem.js';
import { parseBundleDocument, writeBundleDocument } from './bundle-document.js';
import type { BundleDocument } from './bundle-document.js';
import { readCertificate } from './certificate.js';
import type { Certificate } from './certificate.js';
import { DenyList } from './deny-list.js';
import type { DenyListOptions } from './deny-list.js';
import { SpiffeError } from './errors.js';
import { importPublicJwk, readPublicJwk } from './public-jwk.js';
import type { Jwk } from './public-jwk.js';
import { TrustDomain } from './trust-domain.js';
import { requireSignerProfile } from './x509-profile.js';

export interface TrustBundleOptions {
  readonly trustDomain: string | TrustDomain;
  /** Root certificates: PEM text (of one or more), DER, or certificates. Each must be a CA certificate. */
  readonly x509Authorities: readonly (string | Uint8Array | X509Certificate)[];
  /**
   * CA certificates that may stand between a leaf and an authority. They are not trusted: they complete the chain of a peer
   * whose TLS shows only its leaf, as Node 24 does with clients. Default: none.
   */
  readonly x509Intermediates?: readonly (string | Uint8Array | X509Certificate)[] | undefined;
  /** Public P-256 keys that sign workload tokens, each with a `kid` of its own. */
  readonly workloadTokenKeys?: readonly Jwk[] | undefined;
  /** Public keys that sign JWT-SVIDs, each with a `kid` of its own. Never accepted for workload tokens. */
  readonly jwtAuthorities?: readonly Jwk[] | undefined;
  /** Grows with every change of the content. Default 0. */
  readonly sequence?: number | undefined;
  /** How often consumers should look for a newer one, in seconds. */
  readonly refreshHintSeconds?: number | undefined;
  /** Identities that are refused although their certificates and tokens verify. Default: none. */
  readonly denied?: DenyListOptions | undefined;
}

/** What verification needs of a bundle, parsed once; kept out of the public class. */
interface ParsedBundle {
  readonly roots: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  readonly tokenKeys: ReadonlyMap<string, KeyObject>;
  readonly jwtKeys: ReadonlyMap<string, KeyObject>;
}
const parsedBundles = new WeakMap<TrustBundle, ParsedBundle>();

/**
 * What is trusted to speak for one trust domain: root certificates, keys of workload tokens, keys of JWT-SVIDs.
 * Several of each, so that a root can be replaced without a gap. Immutable. A bundle without authorities is valid and
 * trusts nobody.
 */
export class TrustBundle {
  readonly trustDomain: TrustDomain;
  readonly x509AuthoritiesPem: readonly string[];
  readonly x509Authorities: readonly X509Certificate[];
  /** Not trusted; see `TrustBundleOptions`. */
  readonly x509IntermediatesPem: readonly string[];
  readonly workloadTokenKeys: readonly Jwk[];
  readonly jwtAuthorities: readonly Jwk[];
  /** Identities that are refused although their certificates and tokens verify. */
  readonly denied: DenyList;
  readonly sequence: number;
  readonly refreshHintSeconds: number | undefined;

  private constructor(trustDomain: TrustDomain, document: BundleDocument) {
    this.trustDomain = trustDomain;
    const roots = document.x509Authorities.map(readSigner);
    const intermediates = document.x509Intermediates.map(readSigner);
    this.x509Authorities = Object.freeze(roots.map((root) => root.x509));
    this.x509AuthoritiesPem = Object.freeze(roots.map((root) => writePem(root.der, 'CERTIFICATE')));
    this.x509IntermediatesPem = Object.freeze(intermediates.map(({ der }) => writePem(der, 'CERTIFICATE')));
    this.workloadTokenKeys = uniqueKeys(document.workloadTokenKeys);
    this.jwtAuthorities = uniqueKeys(document.jwtAuthorities);
    for (const key of this.workloadTokenKeys) {
      if (key.kty !== 'EC' || key.crv !== 'P-256') throw malformed('a workload token key is not an EC key on P-256');
    }
    this.denied = DenyList.parse(document.denied, trustDomain);
    this.sequence = document.sequence;
    this.refreshHintSeconds = document.refreshHintSeconds;
    parsedBundles.set(this, {
      roots,
      intermediates,
      tokenKeys: importKeys(this.workloadTokenKeys),
      jwtKeys: importKeys(this.jwtAuthorities),
    });
    Object.freeze(this);
  }

  /** Makes one from its parts. Throws `SPIFFE_BUNDLE_MALFORMED`, `SPIFFE_TRUST_DOMAIN_MALFORMED`. */
  static create(options: TrustBundleOptions): TrustBundle {
    const { sequence = 0, refreshHintSeconds } = options;
    for (const [name, value] of Object.entries({ sequence, refreshHintSeconds: refreshHintSeconds ?? 0 })) {
      if (!Number.isSafeInteger(value) || value < 0) throw malformed(`${name} is not a whole number >= 0`);
    }
    const trustDomain = toTrustDomain(options.trustDomain);
    return new TrustBundle(trustDomain, {
      x509Authorities: options.x509Authorities.flatMap(toDer),
      x509Intermediates: (options.x509Intermediates ?? []).flatMap(toDer),
      workloadTokenKeys: (options.workloadTokenKeys ?? []).map(readPublicJwk),
      jwtAuthorities: (options.jwtAuthorities ?? []).map(readPublicJwk),
      sequence,
      refreshHintSeconds,
      denied: DenyList.create(options.denied ?? {}, trustDomain).toJSON(),
    });
  }

  /**
   * Parses a bundle in the SPIFFE bundle format (SPIFFE Trust Domain and Bundle, section 4), given as JSON text or as the
   * parsed document. The format does not name its trust domain, so the caller does. As the format demands, keys of an
   * unknown `use` or `kty` are ignored; anything else that is wrong throws `SPIFFE_BUNDLE_MALFORMED`.
   */
  static parse(json: unknown, trustDomain: string | TrustDomain): TrustBundle {
    return new TrustBundle(toTrustDomain(trustDomain), parseBundleDocument(json));
  }

  /** The SPIFFE bundle document. `TrustBundle.parse` reads it back. */
  toJSON(): Readonly<Record<string, unknown>> {
    return writeBundleDocument({
      x509Authorities: rootsOf(this).map((root) => root.der),
      x509Intermediates: intermediatesOf(this).map(({ der }) => der),
      workloadTokenKeys: this.workloadTokenKeys,
      jwtAuthorities: this.jwtAuthorities,
      sequence: this.sequence,
      refreshHintSeconds: this.refreshHintSeconds,
      denied: this.denied.size === 0 ? undefined : this.denied,
    });
  }

  /** Same trust domain, same authorities and intermediates in the same order, same deny list; the sequence number does not count. */
  equals(other: TrustBundle): boolean {
    return this.trustDomain.equals(other.trustDomain) && contentOf(this) === contentOf(other);
  }
}

/** The parsed roots, for verification. */
export function rootsOf(bundle: TrustBundle): readonly Certificate[] {
  return parsedBundles.get(bundle)?.roots ?? [];
}

/** The parsed intermediates, for verification. */
export function intermediatesOf(bundle: TrustBundle): readonly Certificate[] {
  return parsedBundles.get(bundle)?.intermediates ?? [];
}

/** The workload token key of that `kid`, ready to verify with. */
export function workloadTokenKeyOf(bundle: TrustBundle, kid: string): KeyObject | undefined {
  return parsedBundles.get(bundle)?.tokenKeys.get(kid);
}

/** The JWT-SVID keys by `kid`, ready to verify with. */
export function jwtKeysOf(bundle: TrustBundle): ReadonlyMap<string, KeyObject> {
  return parsedBundles.get(bundle)?.jwtKeys ?? new Map();
}

function importKeys(keys: readonly Jwk[]): ReadonlyMap<string, KeyObject> {
  return new Map(keys.map((key) => [key.kid, importPublicJwk(key)]));
}

function contentOf(bundle: TrustBundle): string {
  const { x509AuthoritiesPem, x509IntermediatesPem, workloadTokenKeys, jwtAuthorities, denied } = bundle;
  return JSON.stringify([x509AuthoritiesPem, x509IntermediatesPem, workloadTokenKeys, jwtAuthorities, denied]);
}

function readSigner(der: Uint8Array): Certificate {
  try {
    const signer = readCertificate(der);
    requireSignerProfile(signer, []);
    return signer;
  } catch (cause) {
    throw malformed(
      `an X.509 authority or intermediate is not usable: ${cause instanceof Error ? cause.message : ''}`,
      cause,
    );
  }
}

function uniqueKeys(keys: readonly Jwk[]): readonly Jwk[] {
  const kids = new Set(keys.map((key) => key.kid));
  if (kids.size < keys.length) throw malformed('two keys have the same kid');
  return Object.freeze([...keys]);
}

function toTrustDomain(trustDomain: string | TrustDomain): TrustDomain {
  return typeof trustDomain === 'string' ? TrustDomain.parse(trustDomain) : trustDomain;
}

function toDer(authority: string | Uint8Array | X509Certificate): readonly Uint8Array[] {
  if (authority instanceof X509Certificate) return [new Uint8Array(authority.raw)];
  if (typeof authority !== 'string') return [Uint8Array.from(authority)];
  let blocks: readonly Uint8Array[];
  try {
    blocks = readPem(authority, 'CERTIFICATE');
  } catch (cause) {
    throw malformed('an X.509 authority is not PEM', cause);
  }
  if (blocks.length === 0) throw malformed('an X.509 authority is empty text');
  return blocks;
}

function malformed(why: string, cause?: unknown): SpiffeError {
  return new SpiffeError('SPIFFE_BUNDLE_MALFORMED', `expected a SPIFFE trust bundle, but ${why}`, { cause });
}
