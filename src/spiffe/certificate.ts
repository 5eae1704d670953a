/**
 * One certificate, read once from its DER: exactly what verification needs, as plain values. `node:crypto` does the
 * cryptography (public key, signature check); the fields are read here because Node shows names only as flattened text
 * and neither critical extensions nor the signature algorithm at all.
 */
import { X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { DerReader, oidFromDer } from '../internal/der/reader.js';
import {
  derTag,
  readBoolean,
  readNamedBits,
  readSmallUnsigned,
  readTime,
  readUnsigned,
} from '../internal/der/values.js';
import { SpiffeError } from './errors.js';
import { readNameConstraints } from './name-constraints.js';
import type { NameConstraints } from './name-constraints.js';

export const keyUsageBit = Object.freeze({ digitalSignature: 0, keyCertSign: 5, cRLSign: 6 });

const extensionOid = Object.freeze({
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  extendedKeyUsage: '2.5.29.37',
});

/** Larger ones are refused unread: a certificate of this mesh is under 1 KiB. */
export const maxCertificateBytes = 16 * 1024;

interface Extensions {
  readonly uriNames: readonly string[];
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: ReadonlySet<number> | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** What may be below it. */
  readonly nameConstraints: NameConstraints | undefined;
  /** OIDs of extensions that change what the certificate means and that nobody here evaluates. */
  readonly unhandled: readonly string[];
}

export interface Certificate extends Extensions {
  readonly der: Uint8Array;
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
  readonly signatureAlgorithm: string;
  /** Lower case hexadecimal, without leading zero bytes. */
  readonly serialNumber: string;
  /** DER of the names, in hexadecimal, to compare. */
  readonly issuer: string;
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Reads a DER certificate. Throws `SPIFFE_X509_MALFORMED`, or `SPIFFE_X509_LIMIT` for one over 16 KiB. */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > maxCertificateBytes) {
    throw new SpiffeError(
      'SPIFFE_X509_LIMIT',
      `expected a certificate of at most ${String(maxCertificateBytes)} bytes, got ${String(der.length)}`,
    );
  }
  try {
    return readFields(der);
  } catch (cause) {
    throw new SpiffeError(
      'SPIFFE_X509_MALFORMED',
      `expected a DER encoded X.509 version 3 certificate, got ${String(der.length)} bytes that are not one: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
}

function readFields(der: Uint8Array): Certificate {
  const outer = new DerReader(der);
  const certificate = outer.enter(derTag.sequence);
  outer.end();
  const tbs = certificate.enter(derTag.sequence);
  const outerAlgorithm = certificate.read(derTag.sequence);
  certificate.read(derTag.bitString);
  certificate.end();

  const version = tbs.enter(0xa0);
  if (readSmallUnsigned(version.read(derTag.integer).contents) !== 2) throw new Error('its version is not 3');
  version.end();
  const serial = readUnsigned(tbs.read(derTag.integer).contents);
  if (serial.length > 20) throw new Error('its serial number is longer than 20 bytes');
  const innerAlgorithm = tbs.read(derTag.sequence);
  // RFC 5280, 4.1.1.2: the unsigned copy must say what the signed one says.
  if (Buffer.compare(innerAlgorithm.encoded, outerAlgorithm.encoded) !== 0) {
    throw new Error('its two signature algorithms differ');
  }
  const issuer = tbs.read(derTag.sequence).encoded;
  const validity = tbs.enter(derTag.sequence);
  const notBeforeMs = readTime(validity.read());
  const notAfterMs = readTime(validity.read());
  validity.end();
  const subject = tbs.read(derTag.sequence).encoded;
  tbs.read(derTag.sequence);
  const extensions = readExtensions(tbs);
  tbs.end();

  const x509 = new X509Certificate(der);
  return Object.freeze({
    ...extensions,
    der,
    x509,
    publicKey: x509.publicKey,
    signatureAlgorithm: oidFromDer(new DerReader(outerAlgorithm.contents).read(derTag.oid).contents),
    serialNumber: Buffer.from(serial).toString('hex'),
    issuer: Buffer.from(issuer).toString('hex'),
    subject: Buffer.from(subject).toString('hex'),
    notBeforeMs,
    notAfterMs,
  });
}

function readExtensions(tbs: DerReader): Extensions {
  const seen = new Set<string>();
  const unhandled: string[] = [];
  let uriNames: readonly string[] = [];
  let basic: { isCa: boolean; pathLength: number | undefined } = { isCa: false, pathLength: undefined };
  let keyUsage: ReadonlySet<number> | undefined;
  let extendedKeyUsage: readonly string[] | undefined;
  let nameConstraints: NameConstraints | undefined;

  // Unique identifiers ([1] and [2]) are refused by the caller's `end`.
  const list = tbs.nextTag === 0xa3 ? tbs.enter(0xa3) : undefined;
  const extensions = list?.enter(derTag.sequence);
  list?.end();
  while (extensions !== undefined && !extensions.atEnd) {
    const extension = extensions.enter(derTag.sequence);
    const oid = oidFromDer(extension.read(derTag.oid).contents);
    const criticalElement = extension.readOptional(derTag.boolean);
    const critical = criticalElement !== undefined && readBoolean(criticalElement.contents);
    const value = new DerReader(extension.read(derTag.octetString).contents);
    extension.end();
    if (seen.has(oid)) throw new Error(`extension ${oid} is there twice`);
    seen.add(oid);
    switch (oid) {
      case extensionOid.subjectAlternativeName:
        uriNames = readUriNames(value.enter(derTag.sequence));
        value.end();
        break;
      case extensionOid.basicConstraints:
        basic = readBasicConstraints(value.enter(derTag.sequence));
        value.end();
        break;
      case extensionOid.keyUsage:
        keyUsage = readNamedBits(value.read(derTag.bitString).contents);
        value.end();
        break;
      case extensionOid.extendedKeyUsage:
        extendedKeyUsage = readOids(value.enter(derTag.sequence));
        value.end();
        break;
      case extensionOid.nameConstraints:
        // Critical or not: they say what the issuer meant.
        nameConstraints = readNameConstraints(value.enter(derTag.sequence));
        value.end();
        if (nameConstraints === undefined) unhandled.push(oid);
        break;
      default:
        if (critical) unhandled.push(oid);
    }
  }
  return { uriNames, ...basic, keyUsage, extendedKeyUsage, nameConstraints, unhandled };
}

/** Every URI name, as latin-1 text: SPIFFE IDs are ASCII, so anything else fails to parse as one. */
function readUriNames(names: DerReader): string[] {
  const uris: string[] = [];
  while (!names.atEnd) {
    const name = names.read();
    // [6] IMPLICIT IA5String, in its primitive form; a constructed one is not DER.
    if (name.tag === 0xa6) throw new Error('a URI name is not in DER form');
    if (name.tag === 0x86) uris.push(Buffer.from(name.contents).toString('latin1'));
  }
  return uris;
}

function readBasicConstraints(fields: DerReader): { isCa: boolean; pathLength: number | undefined } {
  const ca = fields.readOptional(derTag.boolean);
  const length = fields.readOptional(derTag.integer);
  fields.end();
  return {
    isCa: ca !== undefined && readBoolean(ca.contents),
    pathLength: length === undefined ? undefined : readSmallUnsigned(length.contents),
  };
}

function readOids(list: DerReader): string[] {
  const oids: string[] = [];
  while (!list.atEnd) oids.push(oidFromDer(list.read(derTag.oid).contents));
  return oids;
}
