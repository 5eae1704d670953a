import { createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { DerError, DerReader, oidFromDer, wholeBits } from '../internal/der/reader.js';
import { derBitString, derExplicit, derOid, derSequence, derUnsignedInteger } from '../internal/der/writer.js';
import { readPem } from '../internal/der/pem.js';
import { CaError } from './errors.js';
import { acceptedPublicKey, keyObjectOf } from './public-key.js';
import type { SubjectKey } from './public-key.js';
import { localSigner, signatureAlgorithms } from './signer.js';

/** No request for an accepted key comes near this, however many attributes it has. */
const maxCsrBytes = 8192;

/**
 * The public key of a certificate signing request (PKCS #10, RFC 2986; DER or PEM), after its proof of possession was
 * checked. Subject, attributes and requested extensions are skipped unread: nothing of them gets into a certificate.
 *
 * Throws `CA_CSR_MALFORMED`, `CA_CSR_SIGNATURE`, `CA_KEY_REFUSED`.
 */
export function publicKeyOfCsr(csr: string | Uint8Array): SubjectKey {
  const der = csrBytes(csr);
  const parts = readCsr(der);
  const accepted = acceptedPublicKey(parts.subjectPublicKeyInfo);
  const key = keyObjectOf(accepted);
  const algorithm = Object.values(signatureAlgorithms).find((each) => each.oid === parts.signatureAlgorithm);
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType || parts.hasParameters) {
    throw new CaError(
      'CA_CSR_SIGNATURE',
      `expected a request signed with ECDSA and SHA-256 or SHA-384, or with Ed25519, got algorithm ${parts.signatureAlgorithm}`,
    );
  }
  let proven = false;
  try {
    proven = verify(algorithm.digest, parts.signedBytes, key, parts.signature);
  } catch {
    // A signature that does not even parse proves nothing.
  }
  if (!proven) throw new CaError('CA_CSR_SIGNATURE', 'the request is not signed by the key in it');
  return accepted;
}

/** A request (DER) for `privateKey`, with an empty subject and nothing else: the CA decides what a certificate says. */
export async function createCsr(privateKey: KeyObject): Promise<Uint8Array> {
  const signer = localSigner(privateKey);
  const info = derSequence(
    derUnsignedInteger(Uint8Array.of(0)),
    derSequence(),
    createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    derExplicit(0),
  );
  const algorithm = derSequence(derOid(signatureAlgorithms[signer.algorithm].oid));
  return derSequence(info, algorithm, derBitString(await signer.sign(info)));
}

interface CsrParts {
  readonly signedBytes: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly signatureAlgorithm: string;
  /** Those of ECDSA and Ed25519 have none. */
  readonly hasParameters: boolean;
  readonly signature: Uint8Array;
}

function readCsr(der: Uint8Array): CsrParts {
  try {
    const outer = new DerReader(der);
    const request = outer.enter(0x30);
    outer.end();
    const info = request.read(0x30);
    const algorithm = request.enter(0x30);
    const signatureAlgorithm = oidFromDer(algorithm.read(0x06).contents);
    const hasParameters = !algorithm.atEnd;
    const signature = wholeBits(request.read(0x03).contents);
    request.end();
    const fields = new DerReader(info.contents);
    const version = fields.read(0x02).contents;
    if (version.length !== 1 || version[0] !== 0) throw new DerError('a version other than 0');
    fields.read(0x30);
    const subjectPublicKeyInfo = fields.read(0x30).encoded;
    // [0] attributes is not optional in RFC 2986, but some tools leave it out when it is empty.
    if (!fields.atEnd) fields.read(0xa0);
    fields.end();
    return { signedBytes: info.encoded, subjectPublicKeyInfo, signatureAlgorithm, hasParameters, signature };
  } catch (cause) {
    if (!(cause instanceof DerError)) throw cause;
    throw new CaError('CA_CSR_MALFORMED', `expected a certificate signing request (PKCS #10): ${cause.message}`, {
      cause,
    });
  }
}

function csrBytes(csr: string | Uint8Array): Uint8Array {
  if (csr.length > 2 * maxCsrBytes) throw tooLarge(csr.length);
  const der = typeof csr === 'string' ? pemBlock(csr) : csr;
  if (der.length > maxCsrBytes) throw tooLarge(der.length);
  return der;
}

function pemBlock(text: string): Uint8Array {
  try {
    // Older tools label it NEW CERTIFICATE REQUEST (RFC 7468 section 7).
    const [block, ...others] = readPem(
      text.replaceAll(' NEW CERTIFICATE REQUEST', ' CERTIFICATE REQUEST'),
      'CERTIFICATE REQUEST',
    );
    if (block !== undefined && others.length === 0) return block;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
  }
  throw new CaError('CA_CSR_MALFORMED', 'expected one PEM block of type CERTIFICATE REQUEST, or DER bytes');
}

const tooLarge = (length: number): CaError =>
  new CaError('CA_CSR_MALFORMED', `expected a request of at most ${String(maxCsrBytes)} bytes, got ${String(length)}`);
