import { noObserver, systemClock } from '../../core/index.js';
import type { Clock, LatestValue, Observer } from '../../core/index.js';
import type { PeerAuthorizer } from '../authorizers.js';
import type { BundleSet } from '../bundle-set.js';
import { toSvidSource, toTrustSource } from '../sources.js';
import type { SvidSource, TrustSource } from '../sources.js';
import type { TrustBundle } from '../trust-bundle.js';
import type { X509Svid } from '../x509-svid.js';
import type { MtlsEvent } from './events.js';

/** Who we are, whom we trust, and who is welcome: all that either end of a connection needs. */
export interface MtlsOptions {
  /** Our identity. A source is read at every handshake, so that a renewed SVID is used from then on. */
  readonly svid: X509Svid | SvidSource;
  /**
   * What peers are verified against. A source is read at every handshake; when it changes, every open connection is
   * verified again, and those that no longer stand are ended.
   */
  readonly bundle: TrustBundle | BundleSet | LatestValue<TrustBundle> | LatestValue<BundleSet>;
  /** Who is welcome among those who verify. Required: there is no default that would be right. */
  readonly authorizePeer: PeerAuthorizer;
  /** For connection and handshake together, 1 to 600 000 ms. Default 10 000. */
  readonly handshakeTimeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly observer?: Observer<MtlsEvent> | undefined;
}

export interface ResolvedMtlsOptions {
  readonly svid: SvidSource;
  readonly bundle: TrustSource;
  readonly authorizePeer: PeerAuthorizer;
  readonly handshakeTimeoutMs: number;
  readonly clock: Clock;
  readonly observer: Observer<MtlsEvent>;
}

export function resolveMtlsOptions(options: MtlsOptions): ResolvedMtlsOptions {
  const { handshakeTimeoutMs = 10_000, clock = systemClock, observer = noObserver } = options;
  if (!(handshakeTimeoutMs >= 1 && handshakeTimeoutMs <= 600_000)) {
    throw new RangeError(`expected handshakeTimeoutMs of 1 to 600000, got ${String(handshakeTimeoutMs)}`);
  }
  // Refused now and not at the first connection, for callers in plain JavaScript.
  if (typeof options.authorizePeer !== 'function') throw new TypeError('expected authorizePeer to be a function');
  return Object.freeze({
    svid: toSvidSource(options.svid),
    bundle: toTrustSource(options.bundle),
    authorizePeer: options.authorizePeer,
    handshakeTimeoutMs,
    clock,
    observer,
  });
}
