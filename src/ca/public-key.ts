import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { DerError } from '../internal/der/reader.js';
import { readPem } from '../internal/der/pem.js';
import { isOnCurve } from './curve-point.js';
import { CaError } from './errors.js';
import type { CaKeyType } from './signer.js';

/** A public key as callers have it: Node's object, PEM (SPKI), or the DER of a SubjectPublicKeyInfo. */
export type PublicKeyInput = KeyObject | string | Uint8Array;

/** A key that a certificate may be issued for, checked. */
export interface SubjectKey {
  readonly type: CaKeyType;
  /** DER SubjectPublicKeyInfo, in the one form there is of it. */
  readonly spki: Uint8Array;
}

interface KeyForm {
  readonly name: string;
  /** Everything of the SubjectPublicKeyInfo before the key's own bytes: the algorithm, and of a point that it is uncompressed. */
  readonly prefix: Buffer;
  /** Of each coordinate; of the key itself for Ed25519. */
  readonly fieldBytes: number;
  readonly totalBytes: number;
}

const form = (name: string, prefix: string, fieldBytes: number, fields: number): KeyForm => {
  const bytes = Buffer.from(prefix, 'hex');
  return Object.freeze({ name, prefix: bytes, fieldBytes, totalBytes: bytes.length + fields * fieldBytes });
};

/** Named curves only: explicit parameters could hide a weak curve. RFC 5480 section 2, RFC 8410 section 4. */
const forms: Readonly<Record<CaKeyType, KeyForm>> = Object.freeze({
  'P-256': form('ECDSA P-256', '3059301306072a8648ce3d020106082a8648ce3d03010703420004', 32, 2),
  'P-384': form('ECDSA P-384', '3076301006072a8648ce3d020106052b8104002203620004', 48, 2),
  Ed25519: form('Ed25519', '302a300506032b6570032100', 32, 1),
});
const keyTypes = Object.keys(forms) as CaKeyType[];

const nodeCurves: Readonly<Record<string, CaKeyType>> = { prime256v1: 'P-256', secp384r1: 'P-384' };

/** The kind of `key` as people call it, such as `ECDSA P-256`; `undefined` when it is not accepted. */
export function keyTypeName(key: KeyObject): string | undefined {
  const type = typeOf(key);
  return type === undefined ? undefined : forms[type].name;
}

/**
 * Reads `input` as a public key of an accepted kind: its curve by name, its point uncompressed and on that curve. Throws
 * `CA_KEY_REFUSED`. A private key is refused, not reduced.
 *
 * The bytes are compared and the point is checked here: OpenSSL takes four times as long to read a key, and as long again
 * to write it, as a signature takes.
 */
export function acceptedPublicKey(input: PublicKeyInput): SubjectKey {
  if (typeof input !== 'string' && !(input instanceof Uint8Array)) return fromKeyObject(input);
  const spki = typeof input === 'string' ? pemBlock(input) : Uint8Array.from(input);
  const type = keyTypes.find((each) => isOfForm(spki, forms[each]));
  if (type === undefined) throw refused(describe(spki));
  const { prefix, fieldBytes } = forms[type];
  if (type !== 'Ed25519') {
    const x = spki.subarray(prefix.length, prefix.length + fieldBytes);
    if (!isOnCurve(type, x, spki.subarray(prefix.length + fieldBytes))) {
      throw refused(`a point that is not on the curve ${type}`);
    }
  }
  return { type, spki };
}

/** Node's object for a key that was accepted. From a JWK: OpenSSL reads that a third faster than DER. */
export function keyObjectOf({ type, spki }: SubjectKey): KeyObject {
  const { prefix, fieldBytes } = forms[type];
  const bytes = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength);
  const x = bytes.toString('base64url', prefix.length, prefix.length + fieldBytes);
  if (type === 'Ed25519') return createPublicKey({ key: { kty: 'OKP', crv: type, x }, format: 'jwk' });
  const y = bytes.toString('base64url', prefix.length + fieldBytes);
  return createPublicKey({ key: { kty: 'EC', crv: type, x, y }, format: 'jwk' });
}

/** The DER of the key's SubjectPublicKeyInfo. */
export function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' });
}

function fromKeyObject(key: KeyObject): SubjectKey {
  if (key.type !== 'public') throw refused(`a ${key.type} one`);
  const type = typeOf(key);
  if (type === undefined) throw refused(kindOf(key));
  // As JWK: twenty times faster than as DER. OpenSSL has checked the point when it read the key.
  const { x = '', y = '' } = key.export({ format: 'jwk' });
  const spki = Buffer.concat([forms[type].prefix, Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  if (spki.length !== forms[type].totalBytes) throw refused('one of another length');
  return { type, spki };
}

function typeOf(key: KeyObject): CaKeyType | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519';
  return key.asymmetricKeyType === 'ec' ? nodeCurves[key.asymmetricKeyDetails?.namedCurve ?? ''] : undefined;
}

function isOfForm(spki: Uint8Array, { prefix, totalBytes }: KeyForm): boolean {
  return spki.length === totalBytes && prefix.equals(spki.subarray(0, prefix.length));
}

function pemBlock(text: string): Uint8Array {
  try {
    const [block, ...others] = readPem(text, 'PUBLIC KEY');
    if (block !== undefined && others.length === 0) return block;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
  }
  // A private key in PEM is refused as well, not reduced to its public half.
  throw new CaError('CA_KEY_REFUSED', 'expected a public key in PEM, starting with -----BEGIN PUBLIC KEY-----');
}

/** What `spki` is instead, for the message only. */
function describe(spki: Uint8Array): string {
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
    return typeOf(key) === undefined ? kindOf(key) : `${keyTypeName(key) ?? ''} in another encoding`;
  } catch {
    return 'something else';
  }
}

function kindOf(key: KeyObject): string {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return `${key.asymmetricKeyType ?? 'unknown'}${curve === undefined ? '' : ` ${curve}`}`;
}

const refused = (found: string): CaError =>
  new CaError(
    'CA_KEY_REFUSED',
    `expected a public key as SubjectPublicKeyInfo, ECDSA P-256 or P-384 with an uncompressed point or Ed25519, got ${found}`,
  );
