import { DerReader } from '../internal/der/reader.js';

/** The DER of a certificate's subject name, byte for byte: an issuer name must match it exactly (RFC 5280 section 4.1.2.4). */
export function subjectNameOf(certificate: Uint8Array): Uint8Array {
  const toBeSigned = new DerReader(certificate).enter(0x30).enter(0x30);
  if (toBeSigned.nextTag === 0xa0) toBeSigned.read(); // version
  for (const tag of [0x02, 0x30, 0x30, 0x30]) toBeSigned.read(tag); // serial, algorithm, issuer, validity
  return toBeSigned.read(0x30).encoded;
}
