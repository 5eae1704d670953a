import { X509Certificate, createPrivateKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { writePem } from '../internal/der/pem.js';
import { keyThumbprint } from '../spiffe/index.js';
import type { TrustDomain } from '../spiffe/index.js';
import { issueRoot, keyIdentifierOf } from './certificate.js';
import type { Issuer } from './certificate.js';
import { CaError } from './errors.js';
import { rootPinOf } from './root-pin.js';
import { generateP256Key, localSigner } from './signer.js';
import { subjectNameOf } from './subject-name.js';

/**
 * What a CA is made of, as its store keeps it: signing keys with their certificates, token keys, and the sequence
 * number of its bundle. Keys of the three kinds are never the same key: a certificate key that could be made to sign a
 * JWT, or a workload token key a JWT-SVID, would let one be taken for the other.
 */
const keyState = z.enum(['prepared', 'active', 'retired']);

const stateSchema = z.strictObject({
  format: z.literal('meshwright-ca/1'),
  trustDomain: z.string(),
  sequence: z.number().int().min(1),
  roots: z.array(z.strictObject({ state: keyState, certificatePem: z.string(), privateKeyPem: z.string() })).min(1),
  tokenKeys: z.array(z.strictObject({ state: keyState, privateKeyPem: z.string() })).min(1),
  jwtKeys: z.array(z.strictObject({ state: keyState, privateKeyPem: z.string() })).min(1),
});
export type AuthorityState = z.output<typeof stateSchema>;

/** A root that signs, ready for use. */
export interface SigningRoot extends Issuer {
  readonly certificate: X509Certificate;
}

/** A key that signs workload tokens, or one that signs JWT-SVIDs. */
export interface TokenKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

/** Fresh keys for a new CA, valid from a minute ago for `rootTtlMs`. */
export async function newAuthorityState(
  trustDomain: TrustDomain,
  nowMs: number,
  rootTtlMs: number,
): Promise<AuthorityState> {
  const rootKey = generateP256Key();
  const signer = localSigner(rootKey);
  const der = await issueRoot(signer, {
    serialNumber: randomBytes(16),
    // The name is for people, and tells roots of one trust domain apart.
    commonName: `${trustDomain.name.slice(0, 48)} CA ${rootPinOf(signer.publicKey).slice('sha256:'.length).slice(0, 8)}`,
    trustDomainUri: `spiffe://${trustDomain.name}`,
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + rootTtlMs),
  });
  return {
    format: 'meshwright-ca/1',
    trustDomain: trustDomain.name,
    sequence: 1,
    roots: [{ state: 'active', certificatePem: writePem(der, 'CERTIFICATE'), privateKeyPem: pemOf(rootKey) }],
    tokenKeys: [{ state: 'active', privateKeyPem: pemOf(generateP256Key()) }],
    jwtKeys: [{ state: 'active', privateKeyPem: pemOf(generateP256Key()) }],
  };
}

export function encodeAuthorityState(state: AuthorityState): Uint8Array {
  return Buffer.from(JSON.stringify(state), 'utf8');
}

/** Throws `CA_STORE_CORRUPT`. The message never quotes the document: it holds private keys. */
export function decodeAuthorityState(bytes: Uint8Array): AuthorityState {
  const parsed = stateSchema.safeParse(parseJson(bytes));
  if (!parsed.success) throw corrupt('it is not of the form this program wrote');
  return parsed.data;
}

/** The root that signs. Throws `CA_STORE_CORRUPT`. */
export function activeRoot(state: AuthorityState): SigningRoot {
  const entry = onlyActive(state.roots, 'root');
  try {
    const certificate = new X509Certificate(entry.certificatePem);
    const privateKey = createPrivateKey(entry.privateKeyPem);
    if (!certificate.checkPrivateKey(privateKey)) throw corrupt('the root certificate is not of the root key');
    const signer = localSigner(privateKey);
    const spki = signer.publicKey.export({ format: 'der', type: 'spki' });
    return Object.freeze({
      signer,
      certificate,
      subject: subjectNameOf(certificate.raw),
      keyIdentifier: keyIdentifierOf(spki),
    });
  } catch (error) {
    if (error instanceof CaError) throw error;
    throw corrupt('the root does not parse');
  }
}

/** Every key whose workload tokens are accepted, the signing one first. */
export function tokenKeys(state: AuthorityState): readonly TokenKey[] {
  return keysOf(state.tokenKeys, 'token key');
}

/** Every key whose JWT-SVIDs are accepted, the signing one first. */
export function jwtKeys(state: AuthorityState): readonly TokenKey[] {
  return keysOf(state.jwtKeys, 'JWT-SVID key');
}

function keysOf(entries: AuthorityState['tokenKeys'], what: string): readonly TokenKey[] {
  const active = onlyActive(entries, what);
  return [active, ...entries.filter((entry) => entry !== active)].map((entry) => {
    try {
      const privateKey = createPrivateKey(entry.privateKeyPem);
      return Object.freeze({ privateKey, kid: keyThumbprint(privateKey) });
    } catch {
      throw corrupt(`a ${what} does not parse`);
    }
  });
}

function onlyActive<T extends { readonly state: string }>(entries: readonly T[], what: string): T {
  const [active, ...others] = entries.filter((entry) => entry.state === 'active');
  if (active === undefined || others.length > 0) throw corrupt(`it does not have exactly one active ${what}`);
  return active;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

const pemOf = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }) as string;

const corrupt = (what: string): CaError =>
  new CaError(
    'CA_STORE_CORRUPT',
    `the CA's state cannot be used: ${what}. Restore it from a backup; nothing was changed`,
  );
