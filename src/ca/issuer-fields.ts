/** What a certificate takes over, byte for byte, from the certificate of its issuer. */
import { DerReader, oidFromDer } from '../internal/der/reader.js';

/** The DER of the subject name: an issuer name must match it exactly (RFC 5280 section 4.1.2.4). */
export function subjectNameOf(certificate: Uint8Array): Uint8Array {
  return afterIssuer(certificate).read(0x30).encoded;
}

/** The subject key identifier, which is the leaves' authority key identifier (RFC 5280 section 4.2.1.1); undefined without one. */
export function subjectKeyIdentifierOf(certificate: Uint8Array): Uint8Array | undefined {
  const fields = afterIssuer(certificate);
  fields.read(0x30); // subject
  fields.read(0x30); // public key
  while (!fields.atEnd) {
    const field = fields.read();
    if (field.tag !== 0xa3) continue;
    const extensions = new DerReader(field.contents).enter(0x30);
    while (!extensions.atEnd) {
      const extension = extensions.enter(0x30);
      const oid = oidFromDer(extension.read(0x06).contents);
      extension.readOptional(0x01);
      const value = extension.read(0x04).contents;
      if (oid === '2.5.29.14') return new DerReader(value).read(0x04).contents;
    }
  }
  return undefined;
}

function afterIssuer(certificate: Uint8Array): DerReader {
  const toBeSigned = new DerReader(certificate).enter(0x30).enter(0x30);
  toBeSigned.readOptional(0xa0); // version
  for (const tag of [0x02, 0x30, 0x30, 0x30]) toBeSigned.read(tag); // serial, algorithm, issuer, validity
  return toBeSigned;
}
