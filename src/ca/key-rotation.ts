import { X509Certificate } from 'node:crypto';
import type { AuditEntry } from './audit-record.js';
import { usedUntilMs } from './authority.js';
import type { Authority, KeyKind } from './authority.js';
import { newRoot, newTokenKey, onlyActive, tokenKey } from './authority-state.js';
import type { AuthorityState, RootEntry, TokenKeyEntry } from './authority-state.js';
import { CaError } from './errors.js';
import { rootPinOf } from './root-pin.js';
import type { CaKeyType, Signer } from './signer.js';

/**
 * Where a rotation is:
 *
 * ```
 * steady --prepare--> prepared --activate--> activated --retire--> steady
 *                     prepared --cancel----> steady
 * ```
 *
 * - `steady`: one key, published and signing.
 * - `prepared`: the new key is published beside it, so that everybody trusts it before it signs anything.
 * - `activated`: the new key signs; the old one is still published, for what it signed.
 */
export type RotationPhase = 'steady' | 'prepared' | 'activated';

export interface RotationStatus {
  readonly phase: RotationPhase;
  /** The key that signs: the pin of a root, or the `kid` of a token key. */
  readonly active: string;
  /** In `prepared`, the key that comes. */
  readonly prepared?: string | undefined;
  /** In `activated`, the key that goes. */
  readonly outgoing?: string | undefined;
  /** When the next step is safe; undefined in `steady`. */
  readonly readyAt?: Date | undefined;
}

export interface RotationStepOptions {
  /** Who does it, and why: for the audit log. */
  readonly by?: string | undefined;
  readonly reason?: string | undefined;
}

export interface PrepareOptions extends RotationStepOptions {
  /** Of a new root: 60 000 ms or more. Default ten years. */
  readonly ttlMs?: number | undefined;
  /** Of a new root. Default `P-256`. */
  readonly keyType?: CaKeyType | undefined;
  /** Signs for the new root; must be one of the CA's `signers`. */
  readonly signer?: Signer | undefined;
  /** Makes a self-signed root even if the CA has its certificate from an external one, which it then leaves. */
  readonly selfSigned?: boolean | undefined;
}

export interface ForceOptions extends RotationStepOptions {
  /** Does not wait: for a key that is compromised. What is still signed by the old key alone stops working. */
  readonly force?: boolean | undefined;
}

type Entry = RootEntry | TokenKeyEntry;
const names: Readonly<Record<KeyKind, string>> = { roots: 'root', tokenKeys: 'token-key', jwtKeys: 'jwt-key' };
const steps = { prepare: 'steady', activate: 'prepared', retire: 'activated', cancel: 'prepared' } as const;

/**
 * Replaces a CA's signing key without a moment in which something valid is refused. Every step is one write of the CA's
 * store, so after a crash the CA is in the phase before or after it, and the rotation goes on from there.
 */
export class KeyRotation {
  readonly #authority: Authority;
  readonly #kind: KeyKind;
  readonly #audit: (entry: AuditEntry) => Promise<void>;

  constructor(authority: Authority, kind: KeyKind, audit: (entry: AuditEntry) => Promise<void>) {
    this.#authority = authority;
    this.#kind = kind;
    this.#audit = audit;
  }

  get status(): RotationStatus {
    const entries = this.#entries(this.#authority.state);
    const active = onlyActive(entries, this.#kind);
    const prepared = entries.find(({ state }) => state === 'prepared');
    const outgoing = entries.find(({ state }) => state === 'outgoing');
    const readyAtMs =
      prepared === undefined ? outgoing && usedUntilMs(outgoing) : (prepared.readyAtMs ?? Number.MAX_VALUE);
    return Object.freeze({
      phase: prepared !== undefined ? 'prepared' : outgoing !== undefined ? 'activated' : 'steady',
      active: nameOf(active),
      prepared: prepared && nameOf(prepared),
      outgoing: outgoing && nameOf(outgoing),
      readyAt: readyAtMs === undefined ? undefined : new Date(Math.min(readyAtMs, 8.64e15)),
    });
  }

  /**
   * Makes a new key and publishes it. Throws `CA_ROTATION_PHASE`, `CA_REQUEST_INVALID`, `CA_SIGNER_FAILED`, the codes of
   * the store.
   */
  async prepare(options: PrepareOptions = {}): Promise<RotationStatus> {
    const { ttlMs = 10 * 365 * 24 * 60 * 60 * 1000, keyType, signer } = options;
    const { trustDomain, clock } = this.#authority;
    if (!(ttlMs >= 60_000 && ttlMs <= 100 * 366 * 24 * 60 * 60 * 1000)) {
      throw new CaError('CA_REQUEST_INVALID', `expected a lifetime of 60000 ms to 100 years, got ${String(ttlMs)}`);
    }
    const isRoot = this.#kind === 'roots';
    if (isRoot && options.selfSigned !== true) this.#requireOwnRoot();
    const key = isRoot ? await newRoot({ trustDomain, nowMs: clock.now(), ttlMs, keyType, signer }) : newTokenKey();
    return this.#step('prepare', options, (state) => {
      // Every agent renews before its SVID ends, and gets the bundle then, whatever it missed before.
      const readyAtMs = usedUntilMs(onlyActive(state.roots, 'root'));
      const entry = { ...key, state: 'prepared' as const, readyAtMs };
      return this.#kind === 'roots'
        ? { ...state, roots: [...state.roots, entry as RootEntry] }
        : { ...state, [this.#kind]: [...state[this.#kind], entry as TokenKeyEntry] };
    });
  }

  /**
   * Signs with the new key. Throws `CA_ROTATION_PHASE`, and `CA_ROTATION_NOT_READY` while an SVID may be in use whose
   * owner has not seen the new key published; `force` does it all the same.
   */
  activate(options: ForceOptions = {}): Promise<RotationStatus> {
    return this.#step('activate', options, (state) => ({
      ...state,
      ...(this.#kind === 'roots'
        ? { roots: state.roots.map(activated) }
        : { [this.#kind]: state[this.#kind].map(activated) }),
    }));
  }

  /**
   * Stops trusting the old key. Throws `CA_ROTATION_PHASE`, and `CA_ROTATION_NOT_READY` while something that it signed has
   * not ended; `force` does it all the same.
   */
  retire(options: ForceOptions = {}): Promise<RotationStatus> {
    return this.#step('retire', options, (state) => this.#without(state, 'outgoing'));
  }

  /** Withdraws a key that has not signed anything yet. Throws `CA_ROTATION_PHASE`. */
  cancel(options: RotationStepOptions = {}): Promise<RotationStatus> {
    return this.#step('cancel', options, (state) => this.#without(state, 'prepared'));
  }

  async #step(
    step: keyof typeof steps,
    options: ForceOptions,
    next: (state: AuthorityState) => AuthorityState,
  ): Promise<RotationStatus> {
    const operation = `${names[this.#kind]}-${step}`;
    const by = options.by ?? 'operator';
    try {
      await this.#authority.change(async (state) => {
        this.#requirePhase(step, options.force === true);
        const wanted = next(state);
        // Written first: a step that cannot be recorded is not taken.
        const why = [options.force === true ? 'forced' : '', options.reason ?? ''].filter(Boolean).join(': ');
        await this.#audit({ event: 'rotation', operation, who: by, subject: this.status.active, why });
        return { state: wanted, result: undefined };
      });
    } catch (error) {
      if (error instanceof CaError && error.code.startsWith('CA_ROTATION_')) {
        const { code, message } = error;
        await this.#audit({ event: 'refused', operation, who: by, code, why: message });
      }
      throw error;
    }
    return this.status;
  }

  #requirePhase(step: keyof typeof steps, force: boolean): void {
    const { phase, readyAt } = this.status;
    if (phase !== steps[step]) {
      const message = `expected the rotation to be ${steps[step]} before it can ${step}, but it is ${phase}`;
      throw new CaError('CA_ROTATION_PHASE', message);
    }
    if (force || step === 'prepare' || step === 'cancel' || readyAt === undefined) return;
    if (this.#authority.clock.now() >= readyAt.getTime()) return;
    const why =
      step === 'retire'
        ? 'what the old key signed may be in use until'
        : 'an SVID whose owner has not seen the new key may be in use until';
    throw new CaError('CA_ROTATION_NOT_READY', `cannot ${step} yet: ${why} ${readyAt.toISOString()}`);
  }

  #requireOwnRoot(): void {
    if (onlyActive(this.#authority.state.roots, 'root').external === undefined) return;
    const message =
      'this CA has its certificate from an external root: request the next one from it (externalRoot.request)';
    throw new CaError('CA_REQUEST_INVALID', message);
  }

  #entries(state: AuthorityState): readonly Entry[] {
    return state[this.#kind];
  }

  #without(state: AuthorityState, dropped: Entry['state']): AuthorityState {
    const kept = (entry: Entry): boolean => entry.state !== dropped;
    return this.#kind === 'roots'
      ? { ...state, roots: state.roots.filter(kept) }
      : { ...state, [this.#kind]: state[this.#kind].filter(kept) };
  }
}

/** The new key takes the place of the one that signed. */
function activated<E extends Entry>(entry: E): E {
  if (entry.state === 'active') return { ...entry, state: 'outgoing' };
  return entry.state === 'prepared' ? { ...entry, state: 'active', readyAtMs: undefined } : entry;
}

function nameOf(entry: Entry): string {
  return 'certificatePem' in entry
    ? rootPinOf(new X509Certificate(entry.certificatePem).publicKey)
    : tokenKey(entry).kid;
}
