import { X509Certificate, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { DerError } from '../../internal/der/reader.js';
import { readPem, writePem } from '../../internal/der/pem.js';
import { TrustBundle, agentId, verifyX509Svid } from '../../spiffe/index.js';
import type { TrustDomain } from '../../spiffe/index.js';
import type { RequestedKey, RootEntry } from '../authority-state.js';
import { CaError } from '../errors.js';
import { issueLeaf } from '../leaf-certificate.js';
import { leafValidity } from '../leaf-validity.js';
import { newSerialNumber } from '../serial-number.js';
import { generateKey } from '../signer.js';
import type { Signer } from '../signer.js';
import { signingRoot } from '../signing-root.js';

/** What the owner of an external root sends back. */
export interface IssuedChain {
  /** PEM: our certificate and the intermediates above it, in any order; the root may be among them. Nothing else. */
  readonly chainPem: string;
  /** PEM: the one root, self-signed, that everybody is to trust. */
  readonly rootPem: string;
}

export interface ChainContext {
  readonly requested: RequestedKey;
  readonly trustDomain: TrustDomain;
  readonly nowMs: number;
  readonly signers: readonly Signer[];
}

type AcceptedRoot = Pick<RootEntry, 'certificatePem' | 'privateKeyPem' | 'external'>;

const shortestLifeMs = 60_000;

/**
 * A chain as a root entry, once it is certain that it is for the requested key and that peers will accept what it signs:
 * a leaf is issued under it and verified as a peer would, by the root alone. So everything that peers insist on (CA, path
 * length, key usages, critical extensions, name constraints, algorithms, validity) is checked by the same code.
 *
 * Throws `CA_CHAIN_KEY`, `CA_CHAIN_REFUSED`, `CA_SIGNER_MISSING`, `CA_SIGNER_FAILED`, `CA_STORE_CORRUPT`.
 */
export async function acceptChain(chain: IssuedChain, context: ChainContext): Promise<AcceptedRoot> {
  const [root, ...otherRoots] = certificatesOf(chain.rootPem, 'root');
  if (root === undefined || otherRoots.length > 0) throw refused('expected exactly one root certificate');
  if (!issued(root, root)) throw refused('the root is not self-signed: a root is what trust ends at');
  const path = pathTo(root, certificatesOf(chain.chainPem, 'chain'), requestedKey(context.requested));
  for (const certificate of [...path, root]) requireTrustDomain(certificate, context.trustDomain);
  const [own, ...intermediates] = path.map(pemOf);
  if (own === undefined) throw refused('the chain is empty');
  const { privateKeyPem } = context.requested;
  const accepted: AcceptedRoot = {
    certificatePem: own,
    ...(privateKeyPem === undefined ? {} : { privateKeyPem }),
    external: { intermediatesPem: intermediates, rootPem: pemOf(root) },
  };
  await requireVerifiableLeaves(accepted, context);
  return accepted;
}

/** The certificates from the one of `key` up to below `root`. Each must be of use: what is not may be a mistake. */
function pathTo(root: X509Certificate, chain: readonly X509Certificate[], key: KeyObject): readonly X509Certificate[] {
  const [own, ...twins] = chain.filter(({ publicKey }) => publicKey.equals(key));
  if (own === undefined) {
    throw new CaError('CA_CHAIN_KEY', 'no certificate of the chain is for the key of the request that is out');
  }
  if (twins.length > 0) throw refused('the chain has two certificates for the requested key');
  const path = [own];
  const left = new Set(chain.filter((each) => each !== own && !each.raw.equals(root.raw)));
  for (let last = own; !issued(root, last);) {
    const issuer = [...left].find((each) => issued(each, last));
    if (issuer === undefined)
      throw refused('the chain does not lead to the root: an intermediate is missing or not its issuer');
    left.delete(issuer);
    path.push(issuer);
    last = issuer;
  }
  if (left.size > 0) throw refused(`the chain has ${String(left.size)} certificates that are not part of it`);
  return path;
}

function issued(issuer: X509Certificate, subject: X509Certificate): boolean {
  try {
    return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

/** A certificate of a chain may name our trust domain (SPIFFE X509-SVID section 4.1) or none, never another. */
function requireTrustDomain({ subjectAltName }: X509Certificate, { name }: TrustDomain): void {
  const uris = (subjectAltName ?? '').split(', ').filter((each) => each.startsWith('URI:'));
  if (uris.every((each) => each === `URI:spiffe://${name}`)) return;
  throw refused(`a certificate of the chain names something else than trust domain ${name}`);
}

async function requireVerifiableLeaves(accepted: AcceptedRoot, context: ChainContext): Promise<void> {
  const { trustDomain, nowMs, signers } = context;
  const root = signingRoot({ ...accepted, state: 'active' }, signers);
  if (root.validity.notAfter.getTime() - nowMs < shortestLifeMs) {
    throw refused(`the chain ends at ${root.validity.notAfter.toISOString()}, within a minute`);
  }
  try {
    // Of a key that nobody keeps, and for two seconds: it never leaves this function.
    const publicKey = createPublicKey(generateKey('P-256'));
    const leaf = await issueLeaf(root, {
      ...leafValidity(root.validity, nowMs, 2000),
      serialNumber: newSerialNumber(),
      subjectPublicKeyInfo: publicKey.export({ format: 'der', type: 'spki' }),
      spiffeId: agentId(trustDomain, 'chain-check').toString(),
    });
    const bundle = TrustBundle.create({ trustDomain, x509Authorities: [accepted.external?.rootPem ?? ''] });
    verifyX509Svid({ certificates: [leaf, ...root.intermediates], bundle, now: nowMs });
  } catch (cause) {
    if (cause instanceof CaError && cause.code.startsWith('CA_SIGNER_')) throw cause;
    const why = cause instanceof Error ? cause.message : '';
    throw refused(`peers would not accept what it signs: ${why}`, cause);
  }
}

function certificatesOf(pem: string, what: string): readonly X509Certificate[] {
  try {
    const blocks = readPem(pem, 'CERTIFICATE');
    if (blocks.length <= 8) return blocks.map(readWhole);
  } catch (cause) {
    const why = cause instanceof DerError ? `: ${cause.message}` : '';
    throw refused(`expected the ${what} as PEM certificates and nothing else${why}`, cause);
  }
  throw refused(`expected at most 8 certificates in the ${what}`);
}

/** With its public key, which Node would otherwise read, and fail to read, only when it is asked for. */
function readWhole(der: Uint8Array): X509Certificate {
  const certificate = new X509Certificate(der);
  if (certificate.publicKey.type !== 'public') throw new TypeError('expected a public key');
  return certificate;
}

function requestedKey({ publicKeyPem }: RequestedKey): KeyObject {
  return createPublicKey(publicKeyPem);
}

const pemOf = ({ raw }: X509Certificate): string => writePem(raw, 'CERTIFICATE');

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_CHAIN_REFUSED', `the certificate chain cannot be used: ${why}`, { cause });
}
