import type { Clock, Observer } from '../core/index.js';
import type { TrustDomain } from '../spiffe/index.js';
import type { AuditLog } from './audit-log.js';
import type { CaEvent } from './events.js';
import type { CaKeyType, Signer } from './signer.js';
import type { CaStore } from './store.js';
import type { IssuedChain } from './subordinate/accept-chain.js';
import type { CaKeyOptions } from './subordinate/ca-request.js';

/** What every way to a `SpiffeCA` takes. */
export interface CommonOptions {
  readonly clock?: Clock | undefined;
  readonly observer?: Observer<CaEvent> | undefined;
  /** Lifetime of an X.509-SVID when a request names none: 2 000 ms or more. Default 24 hours. */
  readonly svidTtlMs?: number | undefined;
  /**
   * Where every issue, refusal and rotation step is recorded: a log, or what opens it, which is called once the store is
   * locked, so that two processes never write one log. The CA closes it. Default: nowhere.
   */
  readonly audit?: AuditLog | (() => Promise<AuditLog>) | undefined;
  /** Hold the keys of roots that this process does not: found by their public keys. */
  readonly signers?: readonly Signer[] | undefined;
}

export interface SpiffeCAOpenOptions extends CommonOptions {
  readonly store: CaStore;
  /** When given, a store of another trust domain is refused. */
  readonly trustDomain?: string | TrustDomain | undefined;
}

export interface SpiffeCACreateOptions extends CommonOptions {
  readonly trustDomain: string | TrustDomain;
  /** Default: a memory store, gone with the process. */
  readonly store?: CaStore | undefined;
  /** Lifetime of the root: 60 000 ms or more. Default ten years. No certificate outlives it. */
  readonly rootTtlMs?: number | undefined;
  /** Kind of the root's key. Default `P-256`. */
  readonly keyType?: CaKeyType | undefined;
  /** Signs for the root, instead of a key made here; must be one of `signers`. */
  readonly signer?: Signer | undefined;
}

export interface SubordinateRequestOptions extends CaKeyOptions {
  readonly trustDomain: string | TrustDomain;
  readonly store: CaStore;
  readonly audit?: CommonOptions['audit'];
}

/** The chain that answers the request, and how to open the CA that it makes. */
export interface SpiffeCAInstallOptions extends SpiffeCAOpenOptions, IssuedChain {}
