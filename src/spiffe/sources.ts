/**
 * Where identity comes from: one-member interfaces that a static value and a live source both satisfy. Read `current` at
 * the moment of use, never before.
 */
import { constantValue } from '../core/index.js';
import type { LatestValue } from '../core/index.js';
import { BundleSet } from './bundle-set.js';
import type { SpiffeId } from './spiffe-id.js';
import { TrustBundle } from './trust-bundle.js';
import { X509Svid } from './x509-svid.js';

export type SvidSource = LatestValue<X509Svid>;
export type BundleSource = LatestValue<TrustBundle>;
/** One trust domain's bundle, or several: what peers are verified against. */
export type TrustSource = LatestValue<TrustBundle | BundleSet>;

/** Hands out workload tokens for the workloads of the local node. */
export interface WorkloadTokenSource {
  /**
   * A token for `workload`, bound to the key of `keyThumbprint` (that of the TLS session it will travel on), valid for a
   * while yet. Rejects when the CA refuses or cannot be reached and no valid token is held.
   */
  token(
    workload: SpiffeId,
    options: { readonly keyThumbprint: string; readonly signal?: AbortSignal | undefined },
  ): Promise<string>;
}

/** What options named `svid` accept, as a source. */
export function toSvidSource(svid: X509Svid | SvidSource): SvidSource {
  return svid instanceof X509Svid ? constantValue(svid) : svid;
}

/** What options named `bundle` accept, as a source. */
export function toBundleSource(bundle: TrustBundle | BundleSource): BundleSource {
  return bundle instanceof TrustBundle ? constantValue(bundle) : bundle;
}

/** What options that also take several trust domains accept, as a source. */
export function toTrustSource(trusted: TrustBundle | BundleSet | BundleSource | LatestValue<BundleSet>): TrustSource {
  return trusted instanceof TrustBundle || trusted instanceof BundleSet
    ? constantValue<TrustBundle | BundleSet>(trusted)
    : trusted;
}
