/** What the X.509-SVID standard asks of one certificate by itself: of a leaf, of a signing certificate, of both. */
import { requireAllowedKey } from './algorithms.js';
import { keyUsageBit } from './certificate.js';
import type { Certificate } from './certificate.js';
import { SpiffeError } from './errors.js';
import { nameConstraintDefect } from './name-constraints.js';
import type { NameConstraints } from './name-constraints.js';
import { SpiffeId } from './spiffe-id.js';

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyUsage = '2.5.29.37.0';

/** Reads the identity of a leaf. Throws `SPIFFE_X509_URI_SAN`, `SPIFFE_X509_SPIFFE_ID`. */
export function leafSpiffeId(leaf: Certificate): SpiffeId {
  const [uri, ...others] = leaf.uriNames;
  if (uri === undefined || others.length > 0) {
    throw new SpiffeError(
      'SPIFFE_X509_URI_SAN',
      `expected exactly one URI subject alternative name in an X.509-SVID, got ${String(leaf.uriNames.length)}`,
    );
  }
  const id = parseUri(uri);
  if (id.path === '') {
    throw new SpiffeError(
      'SPIFFE_X509_SPIFFE_ID',
      `expected the SPIFFE ID of a leaf to have a path, got ${id.toString()}`,
    );
  }
  return id;
}

/** The rest of a leaf's profile. Throws `SPIFFE_X509_CA`, `_KEY_USAGE`, `_EXTENDED_KEY_USAGE`, `_CRITICAL_EXTENSION`, `_ALGORITHM`. */
export function requireLeafProfile(leaf: Certificate): void {
  if (leaf.isCa) {
    throw new SpiffeError(
      'SPIFFE_X509_CA',
      'expected a leaf certificate, got a CA certificate: signing certificates are no identity',
    );
  }
  const usage = leaf.keyUsage ?? new Set<number>();
  if (
    !usage.has(keyUsageBit.digitalSignature) ||
    usage.has(keyUsageBit.keyCertSign) ||
    usage.has(keyUsageBit.cRLSign)
  ) {
    throw new SpiffeError(
      'SPIFFE_X509_KEY_USAGE',
      `expected a leaf with key usage digitalSignature and without keyCertSign and cRLSign, got ${usage.size === 0 ? 'none' : `bits ${[...usage].join(', ')}`}`,
    );
  }
  if (leaf.nameConstraints !== undefined) {
    throw new SpiffeError(
      'SPIFFE_X509_CRITICAL_EXTENSION',
      'expected a leaf without name constraints: they are for signing certificates',
    );
  }
  requireCommonProfile(leaf);
}

/**
 * The profile of a certificate that signs others. `below` are those between it and the leaf, and the leaf.
 * Throws `SPIFFE_X509_CA`, `_KEY_USAGE`, `_SPIFFE_ID`, `_NAME_CONSTRAINTS`, `_EXTENDED_KEY_USAGE`, `_CRITICAL_EXTENSION`, `_ALGORITHM`.
 */
export function requireSignerProfile(signer: Certificate, below: readonly Certificate[]): void {
  const signersBelow = below.length - 1;
  if (!signer.isCa) {
    throw new SpiffeError(
      'SPIFFE_X509_CA',
      'expected the issuer to be a CA certificate, got a leaf: an X.509-SVID signs no other',
    );
  }
  if (signer.pathLength !== undefined && signersBelow > signer.pathLength) {
    throw new SpiffeError(
      'SPIFFE_X509_CA',
      `expected at most ${String(signer.pathLength)} CA certificates below the issuer (its path length), got ${String(signersBelow)}`,
    );
  }
  if (signer.keyUsage === undefined || !signer.keyUsage.has(keyUsageBit.keyCertSign)) {
    throw new SpiffeError(
      'SPIFFE_X509_KEY_USAGE',
      'expected the issuer to have key usage keyCertSign, got one without',
    );
  }
  const [uri, ...others] = signer.uriNames;
  if (others.length > 0) {
    throw new SpiffeError('SPIFFE_X509_URI_SAN', 'expected at most one URI name in a signing certificate, got several');
  }
  if (uri !== undefined && parseUri(uri).path !== '') {
    throw new SpiffeError(
      'SPIFFE_X509_SPIFFE_ID',
      'expected the SPIFFE ID of a signing certificate to have no path, got one with a path',
    );
  }
  requireCommonProfile(signer);
  if (signer.nameConstraints !== undefined) requireConstrained(signer.nameConstraints, below);
}

/** Self-issued certificates are not left out, as RFC 5280 would have it: a CA that renews itself stays in its bounds. */
function requireConstrained(constraints: NameConstraints, below: readonly Certificate[]): void {
  for (const uri of below.flatMap(({ uriNames }) => uriNames)) {
    const defect = nameConstraintDefect(constraints, parseUri(uri).trustDomain.name);
    if (defect === undefined) continue;
    throw new SpiffeError(
      'SPIFFE_X509_NAME_CONSTRAINTS',
      `expected a chain within the name constraints of its issuers, but ${defect}`,
    );
  }
}

function requireCommonProfile(certificate: Certificate): void {
  const [unhandled] = certificate.unhandled;
  if (unhandled !== undefined) {
    throw new SpiffeError(
      'SPIFFE_X509_CRITICAL_EXTENSION',
      `expected no critical extension beyond basic constraints, key usages and subject alternative name, got ${unhandled}`,
    );
  }
  const usage = certificate.extendedKeyUsage;
  const any = certificate.isCa && usage?.includes(anyUsage) === true;
  if (usage !== undefined && !any && !(usage.includes(serverAuth) && usage.includes(clientAuth))) {
    throw new SpiffeError(
      'SPIFFE_X509_EXTENDED_KEY_USAGE',
      `expected extended key usage serverAuth and clientAuth, or none at all, got ${usage.join(', ')}`,
    );
  }
  requireAllowedKey(certificate.publicKey);
}

function parseUri(uri: string): SpiffeId {
  try {
    return SpiffeId.parse(uri);
  } catch (cause) {
    throw new SpiffeError(
      'SPIFFE_X509_SPIFFE_ID',
      'expected the URI name of a certificate to be a SPIFFE ID, got another',
      { cause },
    );
  }
}
