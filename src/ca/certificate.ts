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

export interface RootContents extends Validity {
  readonly serialNumber: Uint8Array;
  readonly commonName: string;
  /** `spiffe://<trust domain>`: a signing certificate names its trust domain, without a path. */
  readonly trustDomainUri: string;
}

/** Object identifiers of names and extensions, as DER. */
export const oids = Object.freeze({
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

export const version3 = derExplicit(0, derUnsignedInteger(Uint8Array.of(2)));

/** One extension around the DER of its value. */
export const extension = (oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array =>
  critical ? derSequence(oid, derBoolean(true), derOctetString(value)) : derSequence(oid, derOctetString(value));

const rootExtensions = Object.freeze([
  // Path length 0: this root signs leaves, never another CA.
  extension(oids.basicConstraints, true, derSequence(derBoolean(true), derUnsignedInteger(Uint8Array.of(0)))),
  // keyCertSign and cRLSign.
  extension(oids.keyUsage, true, derBitString(Uint8Array.of(0x06), 1)),
]);

const uriSan = (uri: string): Uint8Array =>
  extension(oids.subjectAltName, false, derSequence(derImplicit(6, Buffer.from(uri, 'ascii'))));

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
      uriSan(contents.trustDomainUri),
      extension(oids.subjectKeyIdentifier, false, derOctetString(keyIdentifierOf(spki))),
    ],
  });
}

/** RFC 7093 section 2 method 1, over the whole SubjectPublicKeyInfo: any unique value will do. */
export function keyIdentifierOf(subjectPublicKeyInfo: Uint8Array): Uint8Array {
  return createHash('sha256').update(subjectPublicKeyInfo).digest().subarray(0, 20);
}

/** DER AlgorithmIdentifier of the signatures that `signer` makes. */
export function algorithmOf({ algorithm }: Signer): Uint8Array {
  return derSequence(derOid(signatureAlgorithms[algorithm].oid));
}

interface Unsigned {
  readonly contents: Validity & { readonly serialNumber: Uint8Array };
  readonly issuerName: Uint8Array;
  readonly subjectName: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

async function signedCertificate(signer: Signer, unsigned: Unsigned): Promise<Uint8Array> {
  const algorithm = algorithmOf(signer);
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
