import type { KeyObject } from 'node:crypto';
import { bundleFor, trustedNames } from './bundle-set.js';
import type { BundleSet } from './bundle-set.js';
import { maxCertificateBytes, readCertificate } from './certificate.js';
import { SpiffeError } from './errors.js';
import { keyThumbprint } from './key-thumbprint.js';
import type { SpiffeId } from './spiffe-id.js';
import { intermediatesOf, rootsOf } from './trust-bundle.js';
import type { TrustBundle } from './trust-bundle.js';
import { requireChain, requireValidNow } from './x509-chain.js';
import { leafSpiffeId, requireLeafProfile } from './x509-profile.js';

/** Certificates a peer may send, leaf included. */
const maxCertificates = 8;
/** How far a certificate's beginning may lie in the future. Its end has no tolerance. */
export const defaultClockSkewMs = 60_000;

export interface VerifyX509SvidOptions {
  /** DER, leaf first; the others in any order (RFC 8446 section 4.4.2). At most 8, each at most 16 KiB. */
  readonly certificates: readonly Uint8Array[];
  /** What is trusted: one trust domain's bundle, or several, of which the one of the leaf's own trust domain counts. */
  readonly bundle: TrustBundle | BundleSet;
  /** Wall time in ms since the epoch. */
  readonly now: number;
  /** How far notBefore may lie in the future, in ms, >= 0. Default 60 000. notAfter is exact. */
  readonly clockSkewMs?: number | undefined;
}

/** An authenticated identity. Authentication only: whether this peer is welcome is the `PeerAuthorizer`'s question. */
export interface VerifiedX509Svid {
  readonly spiffeId: SpiffeId;
  readonly notBefore: Date;
  /** The end of the leaf; nothing may rest on this identity from then on. */
  readonly notAfter: Date;
  /** Hexadecimal, lower case. */
  readonly serialNumber: string;
  /** RFC 7638 thumbprint of the leaf's public key. */
  readonly keyThumbprint: string;
  readonly publicKey: KeyObject;
}

/**
 * Verifies an X.509-SVID to the SPIFFE X.509-SVID standard, from the DER: one URI name, which is a SPIFFE ID with a path
 * in the bundle's trust domain, or in one of the set; the leaf profile; validity; and a chain to one of the bundle's authorities, each issuer
 * being a CA that is valid now. Nothing is cached between calls.
 *
 * The bundle's deny list must not name it, its serial number or its node. Does not show that the peer holds the key: the TLS handshake does.
 *
 * Throws `SpiffeError` with a code per defect: `SPIFFE_X509_MISSING`, `_MALFORMED`, `_LIMIT`, `_URI_SAN`, `_SPIFFE_ID`,
 * `_TRUST_DOMAIN`, `_CA`, `_KEY_USAGE`, `_EXTENDED_KEY_USAGE`, `_CRITICAL_EXTENSION`, `_NAME_CONSTRAINTS`, `_EXPIRED`, `_NOT_YET_VALID`,
 * `_ALGORITHM`, `_SIGNATURE`, `_UNTRUSTED`, `_DENIED`.
 */
export function verifyX509Svid(options: VerifyX509SvidOptions): VerifiedX509Svid {
  const { denied, ...verified } = verifyDeniableX509Svid(options);
  if (denied === undefined) return Object.freeze(verified);
  const { spiffeId, serialNumber } = verified;
  throw new SpiffeError('SPIFFE_X509_DENIED', `expected a peer that is not on the deny list, but ${denied}`, {
    fields: { spiffeId: spiffeId.toString(), serialNumber },
  });
}

/** Somebody who is who it says, and may be on the deny list all the same. */
export interface DeniableX509Svid extends VerifiedX509Svid {
  /** Why it is denied; it is not to be served then. */
  readonly denied: string | undefined;
}

/**
 * As `verifyX509Svid`, but says in `denied` what that throws as `SPIFFE_X509_DENIED`: for the one place that answers a denied
 * peer, to tell it so.
 */
export function verifyDeniableX509Svid(options: VerifyX509SvidOptions): DeniableX509Svid {
  const { certificates, now, clockSkewMs = defaultClockSkewMs } = options;
  requireTimes(now, clockSkewMs);
  const [leafDer, ...otherDer] = certificates;
  if (leafDer === undefined) {
    throw new SpiffeError('SPIFFE_X509_MISSING', 'expected the X.509-SVID of the peer, got no certificate at all');
  }
  if (certificates.length > maxCertificates) {
    throw new SpiffeError(
      'SPIFFE_X509_LIMIT',
      `expected at most ${String(maxCertificates)} certificates of at most ${String(maxCertificateBytes)} bytes, got ${String(certificates.length)}`,
    );
  }
  const leaf = readCertificate(leafDer);
  const spiffeId = leafSpiffeId(leaf);
  const bundle = bundleFor(options.bundle, spiffeId.trustDomain);
  if (bundle === undefined) {
    throw new SpiffeError(
      'SPIFFE_X509_TRUST_DOMAIN',
      `expected a peer of trust domain ${trustedNames(options.bundle)}, got ${spiffeId.toString()}`,
      { fields: { spiffeId: spiffeId.toString() } },
    );
  }
  requireLeafProfile(leaf);
  requireValidNow(leaf, 'certificate', now, clockSkewMs);
  const roots = rootsOf(bundle);
  // Node appends the root that it found itself (see `peerCertificates`); parsing it again would cost as much as the leaf.
  const known = intermediatesOf(bundle);
  const presented = otherDer
    .filter((der) => ![...roots, ...known].some((each) => Buffer.compare(each.der, der) === 0))
    .map(readCertificate);
  requireChain(leaf, { intermediates: [...known, ...presented], roots, nowMs: now, clockSkewMs });
  return Object.freeze({
    denied: bundle.denied.reasonFor({ spiffeId, serialNumber: leaf.serialNumber }),
    spiffeId,
    notBefore: new Date(leaf.notBeforeMs),
    notAfter: new Date(leaf.notAfterMs),
    serialNumber: leaf.serialNumber,
    keyThumbprint: keyThumbprint(leaf.publicKey),
    publicKey: leaf.publicKey,
  });
}

/** NaN would make every comparison of times false, and so accept anything. */
export function requireTimes(now: number, clockSkewMs: number): void {
  if (!Number.isFinite(now)) throw new RangeError(`expected now to be a time in ms, got ${String(now)}`);
  if (!Number.isFinite(clockSkewMs) || clockSkewMs < 0) {
    throw new RangeError(`expected clockSkewMs to be a number >= 0, got ${String(clockSkewMs)}`);
  }
}
