import { X509Certificate, createPublicKey } from 'node:crypto';
import type { AuditEntry } from '../audit-record.js';
import { usedUntilMs } from '../authority.js';
import type { Authority } from '../authority.js';
import { onlyActive } from '../authority-state.js';
import type { AuthorityState, RootEntry } from '../authority-state.js';
import { CaError } from '../errors.js';
import type { RotationStepOptions } from '../key-rotation.js';
import { rootPinOf } from '../root-pin.js';
import { acceptChain } from './accept-chain.js';
import type { IssuedChain } from './accept-chain.js';
import { newRequestedKey } from './ca-request.js';
import type { CaKeyOptions } from './ca-request.js';

/** Where a CA stands under an external root. */
export interface ExternalRootStatus {
  /** Whether the key that signs has its certificate from an external root. */
  readonly subordinate: boolean;
  /** When the first certificate above a leaf ends: nothing is issued beyond it. */
  readonly notAfter: Date;
  /** The request that is out, and the pin of its key. */
  readonly requested?: { readonly csrPem: string; readonly key: string } | undefined;
}

export interface CaRequestOptions extends CaKeyOptions, RotationStepOptions {
  /** Makes a new key even if a request is out; the certificate of the old one can then no longer be installed. */
  readonly replace?: boolean | undefined;
}

/**
 * A CA under an external root: the way to its next certificate. `request` makes a key and a request for its certificate,
 * `install` takes the chain, and publishes its root; `rootRotation` goes on from there with `activate` and `retire`, while
 * the old key signs until `activate`. Each step is one write of the store.
 */
export class ExternalRoot {
  readonly #authority: Authority;
  readonly #audit: (entry: AuditEntry) => Promise<void>;

  constructor(authority: Authority, audit: (entry: AuditEntry) => Promise<void>) {
    this.#authority = authority;
    this.#audit = audit;
  }

  get status(): ExternalRootStatus {
    const { requested, roots } = this.#authority.state;
    return Object.freeze({
      subordinate: onlyActive(roots, 'root').external !== undefined,
      notAfter: this.#authority.root.validity.notAfter,
      requested: requested && Object.freeze({ csrPem: requested.csrPem, key: keyPin(requested.publicKeyPem) }),
    });
  }

  /**
   * The request (PEM) for the next certificate: the one that is out, or one for a new key. The key signs nothing until its
   * certificate is installed and active. Throws `CA_SIGNER_FAILED`, the codes of the store and of the audit log.
   */
  async request(options: CaRequestOptions = {}): Promise<{ readonly csrPem: string }> {
    const out = this.#authority.state.requested;
    if (out !== undefined && options.replace !== true) return { csrPem: out.csrPem };
    const requested = await newRequestedKey(this.#authority.trustDomain, options);
    await this.#authority.change(async (state) => {
      await this.#record('root-request', keyPin(requested.publicKeyPem), options);
      return { state: { ...state, requested }, result: undefined };
    });
    return { csrPem: requested.csrPem };
  }

  /** Forgets the request that is out, with its key. False when there is none. */
  async withdraw(options: RotationStepOptions = {}): Promise<boolean> {
    if (this.#authority.state.requested === undefined) return false;
    return this.#authority.change(async ({ requested, ...state }) => {
      if (requested !== undefined) await this.#record('root-withdraw', keyPin(requested.publicKeyPem), options);
      return { state, result: requested !== undefined };
    });
  }

  /**
   * Takes the certificate of the requested key as the next one to sign with, and publishes its root and intermediates:
   * `rootRotation` is then `prepared`, and goes on as with a root of our own.
   *
   * Throws `CA_CSR_MISSING`, `CA_CHAIN_KEY`, `CA_CHAIN_REFUSED`, `CA_ROTATION_PHASE`, the codes of signers, store and audit log.
   */
  async install(chain: IssuedChain, options: RotationStepOptions = {}): Promise<void> {
    await this.#authority.change(async ({ requested, ...state }) => {
      if (requested === undefined) throw csrMissing();
      if (state.roots.some((entry) => entry.state !== 'active')) {
        const message = 'expected no rotation of the root to be under way: finish or cancel it, then install the chain';
        throw new CaError('CA_ROTATION_PHASE', message);
      }
      const { trustDomain, clock, signers } = this.#authority;
      const accepted = await acceptChain(chain, { requested, trustDomain, nowMs: clock.now(), signers });
      const entry: RootEntry = {
        ...accepted,
        state: 'prepared',
        usedUntilMs: 0,
        // Also under a root that everybody knows: some are shown leaves only, and need the intermediate from the bundle.
        readyAtMs: usedUntilMs(onlyActive(state.roots, 'root')),
      };
      await this.#record('root-install', certificatePin(entry), options);
      return { state: { ...state, roots: [...state.roots, entry] }, result: undefined };
    });
  }

  #record(operation: string, subject: string, { by = 'operator', reason = '' }: RotationStepOptions): Promise<void> {
    return this.#audit({ event: 'rotation', operation, who: by, subject, why: reason });
  }
}

/** The state of a new subordinate CA with its first certificate. Throws as `install`, and `CA_EXISTS`. */
export async function installFirst(
  { requested, ...state }: AuthorityState,
  chain: IssuedChain,
  context: Omit<Parameters<typeof acceptChain>[1], 'requested'>,
): Promise<AuthorityState> {
  if (state.roots.length > 0) {
    throw new CaError(
      'CA_EXISTS',
      'the store holds a CA that has its certificate; open it, and install the next one there',
    );
  }
  if (requested === undefined) throw csrMissing();
  const accepted = await acceptChain(chain, { ...context, requested });
  return { ...state, roots: [{ ...accepted, state: 'active', usedUntilMs: 0 }] };
}

/** As people see it in the audit log. */
export function certificatePin({ certificatePem }: Pick<RootEntry, 'certificatePem'>): string {
  return rootPinOf(new X509Certificate(certificatePem).publicKey);
}

export function keyPin(publicKeyPem: string): string {
  return rootPinOf(createPublicKey(publicKeyPem));
}

function csrMissing(): CaError {
  return new CaError('CA_CSR_MISSING', 'no request for a certificate is out; make one and have it signed first');
}
