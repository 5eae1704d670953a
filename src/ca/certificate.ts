import { createHash } from 'node:crypto';
import {
  derBitString,
  derBoolean,
  derExplicit,
  derImplicit,
  derOctetString,
  derOid,
  derSequence,
  derSet,
  derTime,
  derUnsignedInteger,
  derUtf8String,
} from '../internal/der/writer.js';
import { signatureAlgorithms } from './signer.js';
import type { Signer } from './signer.js';

/**
 * The two shapes of certificate this CA makes (RFC 5280, SPIFFE X509-SVID sections 2 to 4). Written as DER here rather than by a
 * certificate library: a library's generator spends seventy times longer on it than the signature takes.
 * What they contain is fixed; nothing of a request but the public key gets in.
 */

export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface Issuer {
  readonly signer: Signer;
  /** DER of the issuer's subject name. */
  readonly subject: Uint8Array;
  readonly keyIdentifier: Uint8Array;
}

export interface LeafContents extends Validity {
  readonly serialNumber: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly subjectPublicKeyInfo: Uint8Array;
  /** The one URI SAN. */
  readonly spiffeId: string;
}

export interface RootContents extends Validity {
  readonly serialNumber: Uint8Array;
  readonly commonName: string;
  /** `spiffe://<trust domain>`: a signing certificate names its trust domain, without a path. */
  readonly trustDomainUri: string;
}

const oids = Object.freeze({
  commonName: derOid('2.5.4.3'),
  subjectKeyIdentifier: derOid('2.5.29.14'),
  keyUsage: derOid('2.5.29.15'),
  subjectAltName: derOid('2.5.29.17'),
  basicConstraints: derOid('2.5.29.19'),
  authorityKeyIdentifier: derOid('2.5.29.35'),
  extendedKeyUsage: derOid('2.5.29.37'),
  serverAuth: derOid('1.3.6.1.5.5.7.3.1'),
  clientAuth: derOid('1.3.6.1.5.5.7.3.2'),
});

const version3 = derExplicit(0, derUnsignedInteger(Uint8Array.of(2)));
const emptyName = derSequence();

const extension = (oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array =>
  critical ? derSequence(oid, derBoolean(true), derOctetString(value)) : derSequence(oid, derOctetString(value));

/** What every leaf has alike: CA false, digital signature only, both ends of TLS. */
const leafExtensions = Object.freeze([
  extension(oids.basicConstraints, true, derSequence()),
  extension(oids.keyUsage, true, derBitString(Uint8Array.of(0x80), 7)),
  extension(oids.extendedKeyUsage, false, derSequence(oids.serverAuth, oids.clientAuth)),
]);

const rootExtensions = Object.freeze([
  // Path length 0: this root signs leaves, never another CA.
  extension(oids.basicConstraints, true, derSequence(derBoolean(true), derUnsignedInteger(Uint8Array.of(0)))),
  // keyCertSign and cRLSign.
  extension(oids.keyUsage, true, derBitString(Uint8Array.of(0x06), 1)),
]);

const uriSan = (uri: string, critical: boolean): Uint8Array =>
  extension(oids.subjectAltName, critical, derSequence(derImplicit(6, Buffer.from(uri, 'ascii'))));

/** A leaf under `issuer`. The subject is empty, so the SAN is critical (RFC 5280 section 4.2.1.6). */
export function issueLeaf(issuer: Issuer, contents: LeafContents): Promise<Uint8Array> {
  return signedCertificate(issuer.signer, {
    contents,
    issuerName: issuer.subject,
    subjectName: emptyName,
    subjectPublicKeyInfo: contents.subjectPublicKeyInfo,
    extensions: [
      ...leafExtensions,
      uriSan(contents.spiffeId, true),
      extension(oids.subjectKeyIdentifier, false, derOctetString(keyIdentifierOf(contents.subjectPublicKeyInfo))),
      extension(oids.authorityKeyIdentifier, false, derSequence(derImplicit(0, issuer.keyIdentifier))),
    ],
  });
}

/** A self-signed root of `signer`. */
export function issueRoot(signer: Signer, contents: RootContents): Promise<Uint8Array> {
  const name = derSequence(derSet(derSequence(oids.commonName, derUtf8String(contents.commonName))));
  const spki = signer.publicKey.export({ format: 'der', type: 'spki' });
  return signedCertificate(signer, {
    contents,
    issuerName: name,
    subjectName: name,
    subjectPublicKeyInfo: spki,
    extensions: [
      ...rootExtensions,
      uriSan(contents.trustDomainUri, false),
      extension(oids.subjectKeyIdentifier, false, derOctetString(keyIdentifierOf(spki))),
    ],
  });
}

/** RFC 7093 section 2 method 1, over the whole SubjectPublicKeyInfo: any unique value will do. */
export function keyIdentifierOf(subjectPublicKeyInfo: Uint8Array): Uint8Array {
  return createHash('sha256').update(subjectPublicKeyInfo).digest().subarray(0, 20);
}

interface Unsigned {
  readonly contents: Validity & { readonly serialNumber: Uint8Array };
  readonly issuerName: Uint8Array;
  readonly subjectName: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

async function signedCertificate(signer: Signer, unsigned: Unsigned): Promise<Uint8Array> {
  const algorithm = derSequence(derOid(signatureAlgorithms[signer.algorithm].oid));
  const toBeSigned = derSequence(
    version3,
    derUnsignedInteger(unsigned.contents.serialNumber),
    algorithm,
    unsigned.issuerName,
    derSequence(derTime(unsigned.contents.notBefore), derTime(unsigned.contents.notAfter)),
    unsigned.subjectName,
    unsigned.subjectPublicKeyInfo,
    derExplicit(3, derSequence(...unsigned.extensions)),
  );
  return derSequence(toBeSigned, algorithm, derBitString(await signer.sign(toBeSigned)));
}
