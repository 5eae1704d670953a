import { X509Certificate, createPrivateKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { z } from 'zod';
import { readPem, writePem } from '../internal/der/pem.js';
import { keyThumbprint, maxWorkloadTokenLifetimeMs } from '../spiffe/index.js';
import type { TrustDomain } from '../spiffe/index.js';
import { issueRoot } from './certificate.js';
import { denialSchema } from './denial.js';
import { CaError } from './errors.js';
import { rootPinOf } from './root-pin.js';
import { checkedSigner, generateKey, localSigner } from './signer.js';
import type { CaKeyType, Signer } from './signer.js';

/**
 * What a CA is made of, as its store keeps it: signing keys with their certificates, token keys, the deny list, and the
 * sequence number of its bundle. Keys of the three kinds are never the same key: a certificate key that could be made to
 * sign a JWT, or a workload token key a JWT-SVID, would let one be taken for the other.
 *
 * A key is `prepared` (published, does not sign), `active` (the one that signs), or `outgoing` (published, signs no more).
 */
const keyStage = {
  state: z.enum(['prepared', 'active', 'outgoing']),
  /** Everything this key has signed has ended by then. Missing: not known. */
  usedUntilMs: z.number().optional(),
  /** Of a prepared key: whoever did not see it published has lost its SVID by then. */
  readyAtMs: z.number().optional(),
};
const rootSchema = z.strictObject({
  ...keyStage,
  certificatePem: z.string(),
  /** Missing: the key is an external signer's. */
  privateKeyPem: z.string().optional(),
  /** Of a subordinate CA: what is above its certificate. Missing: the certificate is itself the root. */
  external: z
    .strictObject({
      /** From the issuer of `certificatePem` upwards, without the root. */
      intermediatesPem: z.array(z.string()),
      rootPem: z.string(),
    })
    .optional(),
});
/** A key that waits for its certificate. */
const requestedSchema = z.strictObject({
  csrPem: z.string(),
  publicKeyPem: z.string(),
  /** Missing: the key is an external signer's. */
  privateKeyPem: z.string().optional(),
});
const tokenKeySchema = z.strictObject({ ...keyStage, privateKeyPem: z.string() });

const stateSchema = z.strictObject({
  format: z.literal('meshwright-ca/1'),
  trustDomain: z.string(),
  sequence: z.number().int().min(1),
  /** Empty only while a new subordinate CA waits for its first certificate. */
  roots: z.array(rootSchema),
  requested: requestedSchema.optional(),
  tokenKeys: z.array(tokenKeySchema).min(1),
  jwtKeys: z.array(tokenKeySchema).min(1),
  denied: z.array(denialSchema).default([]),
});
export type AuthorityState = z.output<typeof stateSchema>;
export type RootEntry = z.output<typeof rootSchema>;
export type RequestedKey = z.output<typeof requestedSchema>;
export type TokenKeyEntry = z.output<typeof tokenKeySchema>;

/** A key that signs workload tokens, or one that signs JWT-SVIDs. */
export interface TokenKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

export interface NewRootOptions {
  readonly trustDomain: TrustDomain;
  readonly nowMs: number;
  readonly ttlMs: number;
  readonly keyType?: CaKeyType | undefined;
  /** Signs instead of a key made here. */
  readonly signer?: Signer | undefined;
}

/** A fresh root, valid from a minute ago for `ttlMs`. */
export async function newRoot(options: NewRootOptions): Promise<Omit<RootEntry, 'state'>> {
  const { trustDomain, nowMs, ttlMs } = options;
  const privateKey = generateKey(options.keyType ?? 'P-256');
  const signer = options.signer === undefined ? localSigner(privateKey) : checkedSigner(options.signer);
  const der = await issueRoot(signer, {
    serialNumber: randomBytes(16),
    // The name is for people, and tells roots of one trust domain apart.
    commonName: `${trustDomain.name.slice(0, 48)} CA ${rootPinOf(signer.publicKey).slice('sha256:'.length).slice(0, 8)}`,
    trustDomainUri: `spiffe://${trustDomain.name}`,
    notBefore: new Date(nowMs - 60_000),
    notAfter: new Date(nowMs + ttlMs),
  });
  const certificatePem = writePem(der, 'CERTIFICATE');
  return {
    certificatePem,
    usedUntilMs: 0,
    ...(options.signer === undefined ? { privateKeyPem: pemOf(privateKey) } : {}),
  };
}

/** A fresh key for workload tokens, or for JWT-SVIDs. */
export function newTokenKey(): Omit<TokenKeyEntry, 'state'> {
  return { privateKeyPem: pemOf(generateKey('P-256')), usedUntilMs: 0 };
}

/** Fresh keys for a new CA. */
export async function newAuthorityState(options: NewRootOptions): Promise<AuthorityState> {
  const root: RootEntry = { state: 'active', ...(await newRoot(options)) };
  return { ...stateWithoutRoot(options.trustDomain), roots: [root] };
}

/** Fresh keys for a CA whose certificate somebody else will sign. */
export function stateWithoutRoot(trustDomain: TrustDomain): AuthorityState {
  return {
    format: 'meshwright-ca/1',
    trustDomain: trustDomain.name,
    sequence: 1,
    roots: [],
    tokenKeys: [{ state: 'active', ...newTokenKey() }],
    jwtKeys: [{ state: 'active', ...newTokenKey() }],
    denied: [],
  };
}

export function encodeAuthorityState(state: AuthorityState): Uint8Array {
  return Buffer.from(JSON.stringify(state), 'utf8');
}

/** Throws `CA_STORE_CORRUPT`. The message never quotes the document: it holds private keys. */
export function decodeAuthorityState(bytes: Uint8Array): AuthorityState {
  const parsed = stateSchema.safeParse(parseJson(bytes));
  if (!parsed.success) throw corrupt('it is not of the form this program wrote');
  const { roots, tokenKeys, jwtKeys, requested } = parsed.data;
  if (roots.length > 0 || requested === undefined) onlyActive(roots, 'root');
  onlyActive(tokenKeys, 'token key');
  onlyActive(jwtKeys, 'JWT-SVID key');
  return parsed.data;
}

/** With what older states leave out: a key whose use is not known is taken to have been used for as long as it can be. */
export function withKnownUse(state: AuthorityState, nowMs: number): AuthorityState {
  const known = (entry: TokenKeyEntry): TokenKeyEntry => ({
    ...entry,
    // JWT-SVIDs live no longer.
    usedUntilMs: entry.usedUntilMs ?? nowMs + maxWorkloadTokenLifetimeMs,
  });
  return {
    ...state,
    roots: state.roots.map((entry) => ({ ...entry, usedUntilMs: entry.usedUntilMs ?? rootEndMs(entry) })),
    tokenKeys: state.tokenKeys.map(known),
    jwtKeys: state.jwtKeys.map(known),
  };
}

export function tokenKey(entry: TokenKeyEntry): TokenKey {
  try {
    const privateKey = createPrivateKey(entry.privateKeyPem);
    return Object.freeze({ privateKey, kid: keyThumbprint(privateKey) });
  } catch {
    throw corrupt('a token key does not parse');
  }
}

/** The one entry that signs. Throws `CA_STORE_CORRUPT`. */
export function onlyActive<T extends { readonly state: string }>(entries: readonly T[], what: string): T {
  const [active, ...others] = entries.filter((entry) => entry.state === 'active');
  if (active === undefined || others.length > 0) throw corrupt(`it does not have exactly one active ${what}`);
  return active;
}

/** The end of a root's certificate, in ms. */
function rootEndMs(entry: RootEntry): number {
  const [der] = readPem(entry.certificatePem, 'CERTIFICATE');
  if (der === undefined) throw corrupt('a root is empty');
  return Date.parse(new X509Certificate(der).validTo);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

const pemOf = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }) as string;

export const corrupt = (what: string): CaError =>
  new CaError(
    'CA_STORE_CORRUPT',
    `the CA's state cannot be used: ${what}. Restore it from a backup; nothing was changed`,
  );
