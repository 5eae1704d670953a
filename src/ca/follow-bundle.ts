import { describeError, silentLogger, sleep, systemClock, systemRandom } from '../core/index.js';
import type { Clock, Logger, Random } from '../core/index.js';
import type { SvidSource, TrustBundle } from '../spiffe/index.js';
import { Backoff } from '../internal/backoff.js';

export interface FollowBundleOptions {
  /** One watch, such as `({ signal }) => client.watchBundle({ signal })`. Opened again whenever it ends. */
  readonly watch: (options: { readonly signal: AbortSignal }) => AsyncIterable<TrustBundle>;
  /** Called with each bundle, such as `(bundle) => renewer.acceptBundle(bundle)`. */
  readonly onBundle: (bundle: TrustBundle) => void | Promise<void>;
  /** Ends it. */
  readonly signal: AbortSignal;
  /**
   * Ours: when it is renewed, the watch is opened anew, so that it runs on a connection with the new one. Without it the
   * watch is lost, for a moment that may matter, when what the old SVID rests on is withdrawn.
   */
  readonly svid?: SvidSource | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
}

/** Follows the CA's trust bundle until `signal` aborts; a lost watch is opened again after 0.1 to 30 s. Never rejects. */
export async function followBundle(options: FollowBundleOptions): Promise<void> {
  const { watch, onBundle, signal, svid, clock = systemClock, random = systemRandom, logger = silentLogger } = options;
  const backoff = new Backoff({ firstMs: 200, maxMs: 30_000 }, random);
  while (!signal.aborted) {
    const renewed = new AbortController();
    const subscription = svid?.subscribe(() => renewed.abort());
    try {
      for await (const bundle of watch({ signal: AbortSignal.any([signal, renewed.signal]) })) {
        backoff.reset();
        await onBundle(bundle);
      }
    } catch (error) {
      if (!signal.aborted && !renewed.signal.aborted) {
        logger.debug('trust bundle watch lost', { reason: describeError(error) });
      }
    } finally {
      subscription?.[Symbol.dispose]();
    }
    if (!renewed.signal.aborted) await sleep(clock, backoff.nextMs(), { signal }).catch(() => undefined);
  }
}
