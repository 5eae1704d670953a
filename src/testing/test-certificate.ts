/**
 * Builds certificates field by field, right or deliberately wrong, to show that a verifier refuses them. Not for
 * production: it signs whatever it is told to. Written over the package's own DER writer, since certificate libraries
 * rightly refuse to write most of what a verifier must refuse to read.
 */
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
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
  derValue,
} from '../internal/der/writer.js';

export type TestKeyType = 'P-256' | 'P-384' | 'Ed25519' | 'RSA-2048' | 'P-521' | 'RSA-1024';

/** A fresh private key. `P-521` and `RSA-1024` are there to be refused. */
export function testPrivateKey(type: TestKeyType = 'P-256'): KeyObject {
  switch (type) {
    case 'Ed25519':
      return generateKeyPairSync('ed25519').privateKey;
    case 'RSA-2048':
    case 'RSA-1024':
      return generateKeyPairSync('rsa', { modulusLength: Number(type.slice(4)) }).privateKey;
    case 'P-256':
    case 'P-384':
    case 'P-521':
      return generateKeyPairSync('ec', { namedCurve: type }).privateKey;
  }
}

export interface TestExtension {
  readonly oid: string;
  readonly critical?: boolean | undefined;
  /** DER of the value. */
  readonly value: Uint8Array;
}

/** Every field of a certificate. What is left out of a leaf by default is right. */
export interface TestCertificateFields {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** URI subject alternative names, as many as wanted, unchecked. */
  readonly uriNames?: readonly string[] | undefined;
  readonly dnsNames?: readonly string[] | undefined;
  /** basicConstraints; left out of the certificate when undefined. */
  readonly ca?: { readonly isCa: boolean; readonly pathLength?: number | undefined } | undefined;
  /** Bit numbers of RFC 5280 4.2.1.3 (0 digitalSignature, 5 keyCertSign, 6 cRLSign); left out when undefined. */
  readonly keyUsage?: readonly number[] | undefined;
  /** OIDs; left out when undefined. */
  readonly extendedKeyUsage?: readonly string[] | undefined;
  readonly extraExtensions?: readonly TestExtension[] | undefined;
  /** Big-endian. Default 16 random bytes. */
  readonly serialNumber?: Uint8Array | undefined;
  /** Signs with SHA-1, where the key type hashes at all. */
  readonly sha1?: boolean | undefined;
}

/** The DER of a certificate with these fields. */
export function testCertificate(fields: TestCertificateFields): Uint8Array {
  const { hash, algorithm } = signatureOf(fields.signingKey, fields.sha1 === true);
  const tbs = derSequence(
    derExplicit(0, derUnsignedInteger(Uint8Array.of(2))),
    derUnsignedInteger(fields.serialNumber ?? randomBytes(16)),
    algorithm,
    name(fields.issuer),
    derSequence(derTime(fields.notBefore), derTime(fields.notAfter)),
    name(fields.subject),
    createPublic(fields.publicKey).export({ type: 'spki', format: 'der' }),
    derExplicit(3, derSequence(...extensionsOf(fields).map(extension))),
  );
  return derSequence(tbs, algorithm, derBitString(sign(hash, tbs, fields.signingKey)));
}

function createPublic(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

function extensionsOf(fields: TestCertificateFields): TestExtension[] {
  const extensions: TestExtension[] = [];
  const { ca, keyUsage, extendedKeyUsage, uriNames = [], dnsNames = [] } = fields;
  if (ca !== undefined) {
    const length = ca.pathLength === undefined ? [] : [derUnsignedInteger(Uint8Array.of(ca.pathLength))];
    const value = derSequence(...(ca.isCa ? [derBoolean(true)] : []), ...length);
    extensions.push({ oid: '2.5.29.19', critical: true, value });
  }
  if (keyUsage !== undefined) extensions.push({ oid: '2.5.29.15', critical: true, value: namedBits(keyUsage) });
  if (extendedKeyUsage !== undefined) {
    extensions.push({ oid: '2.5.29.37', value: derSequence(...extendedKeyUsage.map(derOid)) });
  }
  if (uriNames.length + dnsNames.length > 0) {
    const names = [
      ...dnsNames.map((text) => derImplicit(2, Buffer.from(text, 'latin1'))),
      ...uriNames.map((text) => derImplicit(6, Buffer.from(text, 'latin1'))),
    ];
    extensions.push({ oid: '2.5.29.17', value: derSequence(...names) });
  }
  return [...extensions, ...keyIdentifiers(fields), ...(fields.extraExtensions ?? [])];
}

/** Subject and authority key identifier (RFC 5280 4.2.1.1, 4.2.1.2): they tell OpenSSL two roots of one name apart. */
function keyIdentifiers(fields: TestCertificateFields): TestExtension[] {
  return [
    { oid: '2.5.29.14', value: derOctetString(keyIdentifier(fields.publicKey)) },
    { oid: '2.5.29.35', value: derSequence(derImplicit(0, keyIdentifier(fields.signingKey))) },
  ];
}

function keyIdentifier(key: KeyObject): Uint8Array {
  const spki = createPublic(key).export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

function extension({ oid, critical = false, value }: TestExtension): Uint8Array {
  return derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

/** A bit string of at most 8 named bits, without trailing zeros as DER has it. */
function namedBits(bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return derBitString(new Uint8Array());
  const byte = bits.reduce((sum, bit) => sum | (0x80 >> bit), 0);
  return derBitString(Uint8Array.of(byte), 7 - Math.max(...bits));
}

function name(commonName: string): Uint8Array {
  return derSequence(derSet(derSequence(derOid('2.5.4.3'), derUtf8String(commonName))));
}

function signatureOf(key: KeyObject, sha1: boolean): { hash: string | null; algorithm: Uint8Array } {
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return { hash: null, algorithm: derSequence(derOid('1.3.101.112')) };
    case 'rsa': {
      const oid = sha1 ? '1.2.840.113549.1.1.5' : '1.2.840.113549.1.1.11';
      return { hash: sha1 ? 'sha1' : 'sha256', algorithm: derSequence(derOid(oid), derValue(0x05)) };
    }
    default: {
      const oid = sha1 ? '1.2.840.10045.4.1' : '1.2.840.10045.4.3.2';
      return { hash: sha1 ? 'sha1' : 'sha256', algorithm: derSequence(derOid(oid)) };
    }
  }
}
