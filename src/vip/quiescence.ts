import { describeError, notify, sleep } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import type { VipManagerEvent } from './events.js';

/**
 * Holds new connections to `address` until `signal` aborts, and resolves when those under way have ended
 * (`VipListener.quiesce`, `VipIngress.quiesce`). Before it, a server can end what clients keep open without a request.
 */
export type VipQuiesce = (address: string, options: { readonly signal: AbortSignal }) => Promise<void> | void;

export interface QuiescenceOptions {
  readonly name: string;
  readonly address: string;
  readonly quiesce: VipQuiesce | undefined;
  /** Waited for no longer. */
  readonly quiesceMs: number;
  readonly clock: Clock;
  readonly observer: Observer<VipManagerEvent>;
  readonly logger: Logger;
  /** Ends wait and hold. */
  readonly signal: AbortSignal;
}

/** A hold of an address's new connections, until it is disposed of. Whatever the hook does, it costs no more than `quiesceMs`. */
export class Quiescence implements Disposable {
  readonly #over = new AbortController();
  readonly #forget: () => void;

  private constructor(signal: AbortSignal) {
    const end = (): void => this.#over.abort(signal.reason);
    this.#forget = () => signal.removeEventListener('abort', end);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  }

  /** Resolves, and never rejects, when the hook has, has failed, or has had its time. */
  static async begin(options: QuiescenceOptions): Promise<Quiescence> {
    const { name, address, quiesce, clock, observer, logger } = options;
    const begun = new Quiescence(options.signal);
    if (quiesce === undefined || begun.#over.signal.aborted) return begun;
    const sinceMs = clock.monotonicMs();
    const outcome = await begun.#waitFor(quiesce, options);
    if (begun.#over.signal.aborted) return begun;
    const tookMs = clock.monotonicMs() - sinceMs;
    if (outcome === 'late') logger.warn('connections to a virtual IP are open as it is withdrawn', { address, tookMs });
    notify(observer, { type: 'vip.quiesced', name, address, outcome, tookMs });
    return begun;
  }

  async #waitFor(
    quiesce: VipQuiesce,
    { address, quiesceMs, clock, logger }: QuiescenceOptions,
  ): Promise<'quiet' | 'late' | 'failed'> {
    const { signal } = this.#over;
    const ended = new AbortController();
    const quiet = (async () => {
      try {
        await quiesce(address, { signal });
        return 'quiet' as const;
      } catch (error) {
        logger.error('connections to a virtual IP could not be held', { address, error: describeError(error) });
        return 'failed' as const;
      }
    })();
    const late = sleep(clock, quiesceMs, { keepAlive: true, signal: AbortSignal.any([signal, ended.signal]) }).then(
      () => 'late' as const,
      () => 'late' as const,
    );
    try {
      return await Promise.race([quiet, late]);
    } finally {
      ended.abort();
    }
  }

  [Symbol.dispose](): void {
    this.#forget();
    this.#over.abort(new Error('new connections are to be taken again'));
  }
}
