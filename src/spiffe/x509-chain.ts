/**
 * Finds a chain from a leaf through untrusted intermediates to one of a bundle's authorities (RFC 5280 section 6, cut to
 * what X.509-SVIDs use). Deterministic and bounded: the peer chooses the certificates, so it must not choose the work.
 */
import { requireAllowedSignature } from './algorithms.js';
import type { Certificate } from './certificate.js';
import { SpiffeError } from './errors.js';
import { requireSignerProfile } from './x509-profile.js';

/** CA certificates between leaf and root. */
const maxIntermediatesInPath = 4;
const maxSignatureChecks = 16;

export interface ChainOptions {
  readonly intermediates: readonly Certificate[];
  readonly roots: readonly Certificate[];
  readonly nowMs: number;
  readonly clockSkewMs: number;
}

/** Throws `SPIFFE_X509_EXPIRED`, or `SPIFFE_X509_NOT_YET_VALID` when it begins more than `clockSkewMs` from now. */
export function requireValidNow(certificate: Certificate, what: string, nowMs: number, clockSkewMs: number): void {
  // No skew here: what is past its end is never accepted.
  if (nowMs >= certificate.notAfterMs) {
    throw new SpiffeError(
      'SPIFFE_X509_EXPIRED',
      `expected a ${what} that is valid at ${isoTime(nowMs)}, got one that ended at ${isoTime(certificate.notAfterMs)}`,
      { fields: { notAfter: isoTime(certificate.notAfterMs) } },
    );
  }
  if (nowMs + clockSkewMs < certificate.notBeforeMs) {
    throw new SpiffeError(
      'SPIFFE_X509_NOT_YET_VALID',
      `expected a ${what} that is valid at ${isoTime(nowMs)}, got one that begins at ${isoTime(certificate.notBeforeMs)}`,
      { fields: { notBefore: isoTime(certificate.notBeforeMs) } },
    );
  }
}

/**
 * Throws when no chain leads to a root. When issuers of the right name were found, the error is the defect of the first
 * of them; otherwise `SPIFFE_X509_UNTRUSTED`.
 */
export function requireChain(leaf: Certificate, options: ChainOptions): void {
  const search = new ChainSearch(options);
  if (search.from([leaf])) return;
  throw (
    search.firstDefect ??
    new SpiffeError(
      'SPIFFE_X509_UNTRUSTED',
      "expected a chain to an authority of the trust domain's bundle, got a certificate of an unknown issuer; refresh the bundle or send the intermediates",
    )
  );
}

class ChainSearch {
  firstDefect: SpiffeError | undefined;
  readonly #options: ChainOptions;
  #checksLeft = maxSignatureChecks;

  constructor(options: ChainOptions) {
    this.#options = options;
  }

  /** From the leaf up to the last of `path`, which is to be found an issuer. */
  from(path: readonly Certificate[]): boolean {
    const { roots, intermediates } = this.#options;
    for (const root of roots) if (this.#issued(root, path, 'root certificate')) return true;
    if (path.length > maxIntermediatesInPath) return false;
    for (const candidate of intermediates) {
      if (path.includes(candidate) || !this.#issued(candidate, path, 'intermediate certificate')) continue;
      if (this.from([...path, candidate])) return true;
    }
    return false;
  }

  #issued(issuer: Certificate, path: readonly Certificate[], what: string): boolean {
    const child = path.at(-1);
    if (child === undefined || issuer.subject !== child.issuer) return false;
    if (this.#checksLeft === 0) {
      // Thrown through the search: going on would be the work that this bound is there to refuse.
      throw new SpiffeError(
        'SPIFFE_X509_LIMIT',
        `expected a chain found within ${String(maxSignatureChecks)} signature checks, got a longer search`,
      );
    }
    try {
      requireValidNow(issuer, what, this.#options.nowMs, this.#options.clockSkewMs);
      requireSignerProfile(issuer, path);
      requireAllowedSignature(child.signatureAlgorithm, issuer.publicKey);
      this.#checksLeft -= 1;
      if (!child.x509.verify(issuer.publicKey)) {
        throw new SpiffeError(
          'SPIFFE_X509_SIGNATURE',
          `expected the signature of the ${what} that the certificate names, got one of another key`,
        );
      }
      return true;
    } catch (error) {
      if (!(error instanceof SpiffeError)) throw error;
      this.firstDefect ??= error;
      return false;
    }
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
