import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { writePem } from '../internal/der/pem.js';
import { corrupt } from './authority-state.js';
import type { RootEntry } from './authority-state.js';
import { keyIdentifierOf } from './certificate.js';
import type { Issuer, Validity } from './certificate.js';
import { CaError } from './errors.js';
import { subjectKeyIdentifierOf, subjectNameOf } from './issuer-fields.js';
import { rootPinOf } from './root-pin.js';
import { checkedSigner, localSigner } from './signer.js';
import type { Signer } from './signer.js';

/** What signs certificates: a root of our own, or a certificate that comes from an external root. */
export interface SigningRoot extends Issuer {
  /** What a leaf brings along: the certificates between it and the root, DER, its issuer first. None under a root of our own. */
  readonly intermediates: readonly Uint8Array[];
  /** The same as PEM. */
  readonly intermediatesPem: string;
  /** While every certificate above a leaf is valid. */
  readonly validity: Validity;
  /** Of the root that everybody trusts. */
  readonly rootPublicKey: KeyObject;
}

/**
 * `entry` ready to sign; one without a key of its own signs by the one of `signers` that has its public key.
 * Throws `CA_STORE_CORRUPT`, `CA_SIGNER_MISSING`.
 */
export function signingRoot(entry: RootEntry, signers: readonly Signer[]): SigningRoot {
  const { external } = entry;
  const [certificate, ...above] = parsed([
    entry.certificatePem,
    ...(external === undefined ? [] : [...external.intermediatesPem, external.rootPem]),
  ]);
  if (certificate === undefined) throw corrupt('a root is missing');
  const root = above.at(-1) ?? certificate;
  const intermediates = external === undefined ? [] : [certificate, ...above.slice(0, -1)];
  const der = intermediates.map(({ raw }) => new Uint8Array(raw));
  const signer = signerOf(entry, certificate.publicKey, signers);
  const all = [certificate, ...above];
  return Object.freeze({
    signer,
    subject: subjectNameOf(certificate.raw),
    keyIdentifier:
      subjectKeyIdentifierOf(certificate.raw) ??
      keyIdentifierOf(signer.publicKey.export({ format: 'der', type: 'spki' })),
    intermediates: Object.freeze(der),
    intermediatesPem: der.map((each) => writePem(each, 'CERTIFICATE')).join(''),
    validity: Object.freeze({
      notBefore: new Date(Math.max(...all.map(({ validFrom }) => Date.parse(validFrom)))),
      notAfter: new Date(Math.min(...all.map(({ validTo }) => Date.parse(validTo)))),
    }),
    rootPublicKey: root.publicKey,
  });
}

/** The signer with `publicKey`: of `held`'s own key, or one of `signers`. Throws `CA_STORE_CORRUPT`, `CA_SIGNER_MISSING`. */
export function signerOf(
  held: { readonly privateKeyPem?: string | undefined },
  publicKey: KeyObject,
  signers: readonly Signer[],
): Signer {
  if (held.privateKeyPem === undefined) {
    const external = signers.find((each) => each.publicKey.equals(publicKey));
    if (external !== undefined) return checkedSigner(external);
    const pin = rootPinOf(publicKey);
    throw new CaError('CA_SIGNER_MISSING', `the key ${pin} is held by an external signer, which was not given`);
  }
  let signer: Signer;
  try {
    signer = localSigner(createPrivateKey(held.privateKeyPem));
  } catch {
    throw corrupt('a signing key does not parse');
  }
  if (!signer.publicKey.equals(publicKey)) throw corrupt('a signing certificate is not of the signing key');
  return signer;
}

/** The roots that everybody trusts, PEM, each once and in the order of `entries`. */
export function publishedRoots(entries: readonly RootEntry[]): readonly string[] {
  return [...new Set(entries.map(({ certificatePem, external }) => external?.rootPem ?? certificatePem))];
}

/** What stands between those roots and leaves, PEM, for peers that are shown leaves only. */
export function publishedIntermediates(entries: readonly RootEntry[]): readonly string[] {
  return [
    ...new Set(
      entries.flatMap(({ certificatePem, external }) =>
        external === undefined ? [] : [certificatePem, ...external.intermediatesPem],
      ),
    ),
  ];
}

function parsed(pems: readonly string[]): readonly X509Certificate[] {
  try {
    return pems.map((pem) => new X509Certificate(pem));
  } catch {
    throw corrupt('a root does not parse');
  }
}
