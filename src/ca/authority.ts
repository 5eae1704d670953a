import { LatestValueCell } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { TrustBundle, TrustDomain } from '../spiffe/index.js';
import type { Jwk } from '../spiffe/index.js';
import { encodeAuthorityState, onlyActive, tokenKey } from './authority-state.js';
import type { AuthorityState, RootEntry, TokenKey, TokenKeyEntry } from './authority-state.js';
import { CaError } from './errors.js';
import { SerialQueue } from './serial-queue.js';
import type { Signer } from './signer.js';
import { publishedIntermediates, publishedRoots, signingRoot } from './signing-root.js';
import type { SigningRoot } from './signing-root.js';
import type { CaStore } from './store.js';

/** The kinds of key a CA signs with: certificates, workload tokens, JWT-SVIDs. */
export type KeyKind = 'roots' | 'tokenKeys' | 'jwtKeys';

export interface AuthorityOptions {
  readonly store: Pick<CaStore, 'write'>;
  readonly state: AuthorityState;
  readonly clock: Clock;
  readonly signers: readonly Signer[];
}

/**
 * The state of a CA and what follows from it: the keys that sign, and the bundle. A change is one write of one document:
 * it is in the store before it takes effect here, so a crash leaves the state before it or after it, never one between.
 */
export class Authority {
  readonly trustDomain: TrustDomain;
  readonly bundle: LatestValueCell<TrustBundle>;
  readonly #options: AuthorityOptions;
  readonly #changes = new SerialQueue();
  #state: AuthorityState;
  #root: SigningRoot;
  #tokenKeys: Readonly<Record<'tokenKeys' | 'jwtKeys', TokenKey>>;
  #closed = false;

  constructor(options: AuthorityOptions) {
    const { state } = options;
    this.#options = options;
    this.#state = state;
    this.trustDomain = TrustDomain.parse(state.trustDomain);
    this.#root = signingRoot(onlyActive(state.roots, 'root'), options.signers);
    this.#tokenKeys = activeTokenKeys(state);
    this.bundle = new LatestValueCell(bundleOf(this.trustDomain, state));
  }

  get state(): AuthorityState {
    return this.#state;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  get signers(): readonly Signer[] {
    return this.#options.signers;
  }

  get root(): SigningRoot {
    return this.#root;
  }

  /** The root to sign a certificate with that ends at `endMs`: only once the store knows that it lives that long. */
  async rootUntil(endMs: number): Promise<SigningRoot> {
    while (!covers(onlyActive(this.#state.roots, 'root'), endMs)) await this.#extend('roots', endMs);
    return this.#root;
  }

  /** As `rootUntil`, for a workload token or a JWT-SVID. */
  async tokenKeyUntil(kind: 'tokenKeys' | 'jwtKeys', endMs: number): Promise<TokenKey> {
    while (!covers(onlyActive(this.#state[kind], kind), endMs)) await this.#extend(kind, endMs);
    return this.#tokenKeys[kind];
  }

  /**
   * Replaces the state by what `next` makes of it, and publishes the bundle. Changes run one at a time; when the store
   * fails, nothing changed.
   */
  change<T>(next: (state: AuthorityState) => Promise<{ state: AuthorityState; result: T }>): Promise<T> {
    return this.#changes.run(async () => {
      this.requireOpen();
      const { state: wanted, result } = await next(this.#state);
      const state = { ...wanted, sequence: this.#state.sequence + 1 };
      // All that can fail comes before the write.
      const root = signingRoot(onlyActive(state.roots, 'root'), this.#options.signers);
      const keys = activeTokenKeys(state);
      const bundle = bundleOf(this.trustDomain, state);
      await this.#options.store.write('authority', encodeAuthorityState(state));
      this.#state = state;
      this.#root = root;
      this.#tokenKeys = keys;
      this.bundle.set(bundle);
      return result;
    });
  }

  requireOpen(): void {
    if (this.#closed) throw new CaError('CA_CLOSED', 'this CA is closed');
  }

  /** Resolves when no change is under way; none is accepted afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#changes.run(() => Promise.resolve());
  }

  /** Notes that the active key signs something that ends at `endMs`; a tenth further, so that this is written rarely. */
  #extend(kind: KeyKind, endMs: number): Promise<void> {
    return this.#changes.run(async () => {
      this.requireOpen();
      const marked = <E extends RootEntry | TokenKeyEntry>(entry: E): E => {
        if (entry.state !== 'active' || covers(entry, endMs)) return entry;
        const slackMs = Math.max(0, endMs - this.clock.now()) / 10;
        return { ...entry, usedUntilMs: Math.ceil(endMs + slackMs) };
      };
      const before = this.#state;
      const state =
        kind === 'roots'
          ? { ...before, roots: before.roots.map(marked) }
          : { ...before, [kind]: before[kind].map(marked) };
      await this.#options.store.write('authority', encodeAuthorityState(state));
      this.#state = state;
    });
  }
}

/** When everything that `entry` signed has ended. */
export function usedUntilMs(entry: RootEntry | TokenKeyEntry): number {
  return entry.usedUntilMs ?? Number.MAX_VALUE;
}

function covers(entry: RootEntry | TokenKeyEntry, endMs: number): boolean {
  return entry.usedUntilMs !== undefined && endMs <= entry.usedUntilMs;
}

/** Every published key, the signing one first. */
function published<E extends { readonly state: string }>(entries: readonly E[]): readonly E[] {
  const active = entries.filter(({ state }) => state === 'active');
  return [...active, ...entries.filter(({ state }) => state !== 'active')];
}

function bundleOf(trustDomain: TrustDomain, state: AuthorityState): TrustBundle {
  const valuesOf = (kind: string): string[] =>
    state.denied.filter((denial) => denial.kind === kind).map(({ value }) => value);
  return TrustBundle.create({
    trustDomain,
    x509Authorities: publishedRoots(published(state.roots)),
    x509Intermediates: publishedIntermediates(published(state.roots)),
    workloadTokenKeys: published(state.tokenKeys).map((entry) => publicJwk(tokenKey(entry))),
    jwtAuthorities: published(state.jwtKeys).map((entry) => publicJwk(tokenKey(entry))),
    denied: { serialNumbers: valuesOf('serial-number'), spiffeIds: valuesOf('spiffe-id'), nodes: valuesOf('node') },
    sequence: state.sequence,
  });
}

function activeTokenKeys(state: AuthorityState): Readonly<Record<'tokenKeys' | 'jwtKeys', TokenKey>> {
  return {
    tokenKeys: tokenKey(onlyActive(state.tokenKeys, 'token key')),
    jwtKeys: tokenKey(onlyActive(state.jwtKeys, 'JWT-SVID key')),
  };
}

function publicJwk({ kid, privateKey }: TokenKey): Jwk {
  const { x = '', y = '' } = privateKey.export({ format: 'jwk' });
  return { kty: 'EC', crv: 'P-256', x, y, kid };
}
