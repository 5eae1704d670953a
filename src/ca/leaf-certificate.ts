import { DerBackwards } from '../internal/der/backwards.js';
import { derBitString, derBoolean, derImplicit, derOctetString, derSequence, derTime } from '../internal/der/writer.js';
import { algorithmOf, extension, keyIdentifierOf, oids, version3 } from './certificate.js';
import type { Issuer, Validity } from './certificate.js';

/**
 * Leaves (RFC 5280, SPIFFE X509-SVID sections 2 to 4): what is the same in all of them under one issuer is made once, and
 * the rest is written around it in one go. A certificate library's generator spends seventy times longer on a leaf than
 * its signature takes.
 *
 * What they say is fixed; nothing of a request but the public key gets in.
 */
export interface LeafContents extends Validity {
  readonly serialNumber: Uint8Array;
  /** DER SubjectPublicKeyInfo. */
  readonly subjectPublicKeyInfo: Uint8Array;
  /** The one URI SAN: 2 048 bytes of ASCII or less. */
  readonly spiffeId: string;
}

interface LeafTemplate {
  readonly algorithm: Uint8Array;
  /** The algorithm once more, and the issuer's name: what comes between serial number and validity. */
  readonly issuer: Uint8Array;
  readonly authorityKeyIdentifier: Uint8Array;
}

const tag = Object.freeze({ sequence: 0x30, octetString: 0x04, bitString: 0x03, uri: 0x86, extensions: 0xa3 });
const emptyName = derSequence();
/** CA false, digital signature only, both ends of TLS. */
const fixedExtensions = Buffer.concat([
  extension(oids.basicConstraints, true, derSequence()),
  extension(oids.keyUsage, true, derBitString(Uint8Array.of(0x80), 7)),
  extension(oids.extendedKeyUsage, false, derSequence(oids.serverAuth, oids.clientAuth)),
]);
const subjectAltNameCritical = Buffer.concat([oids.subjectAltName, derBoolean(true)]);
/** All of the extension but the identifier, which is its last 20 bytes. */
const subjectKeyIdentifierHead = extension(oids.subjectKeyIdentifier, false, derOctetString(new Uint8Array(20))).slice(
  0,
  -20,
);

const templates = new WeakMap<Issuer, LeafTemplate>();
const writer = new DerBackwards(16 * 1024);

/** A leaf under `issuer`. The subject is empty, so the SAN is critical (RFC 5280 section 4.2.1.6). */
export async function issueLeaf(issuer: Issuer, contents: LeafContents): Promise<Uint8Array> {
  const template = templateOf(issuer);
  const toBeSigned = unsignedLeaf(template, contents);
  return signedLeaf(template, toBeSigned, await issuer.signer.sign(toBeSigned));
}

function templateOf(issuer: Issuer): LeafTemplate {
  const known = templates.get(issuer);
  if (known !== undefined) return known;
  const algorithm = algorithmOf(issuer.signer);
  const made = {
    algorithm,
    issuer: Buffer.concat([algorithm, issuer.subject]),
    authorityKeyIdentifier: extension(
      oids.authorityKeyIdentifier,
      false,
      derSequence(derImplicit(0, issuer.keyIdentifier)),
    ),
  };
  templates.set(issuer, made);
  return made;
}

/** From its last byte to its first. */
function unsignedLeaf(template: LeafTemplate, contents: LeafContents): Uint8Array {
  writer.reset();
  const end = writer.mark;
  writer.raw(template.authorityKeyIdentifier);
  writer.raw(keyIdentifierOf(contents.subjectPublicKeyInfo));
  writer.raw(subjectKeyIdentifierHead);
  const endOfName = writer.mark;
  writer.raw(Buffer.from(contents.spiffeId, 'latin1'));
  for (const each of [tag.uri, tag.sequence, tag.octetString]) writer.close(each, endOfName);
  writer.raw(subjectAltNameCritical);
  writer.close(tag.sequence, endOfName);
  writer.raw(fixedExtensions);
  writer.close(tag.sequence, end);
  writer.close(tag.extensions, end);
  writer.raw(contents.subjectPublicKeyInfo);
  writer.raw(emptyName);
  const endOfValidity = writer.mark;
  writer.raw(derTime(contents.notAfter));
  writer.raw(derTime(contents.notBefore));
  writer.close(tag.sequence, endOfValidity);
  writer.raw(template.issuer);
  writer.unsignedInteger(contents.serialNumber);
  writer.raw(version3);
  writer.close(tag.sequence, end);
  return writer.finish();
}

function signedLeaf(template: LeafTemplate, toBeSigned: Uint8Array, signature: Uint8Array): Uint8Array {
  writer.reset();
  const end = writer.mark;
  writer.raw(signature);
  writer.octet(0);
  writer.close(tag.bitString, end);
  writer.raw(template.algorithm);
  writer.raw(toBeSigned);
  writer.close(tag.sequence, end);
  return writer.finish();
}
