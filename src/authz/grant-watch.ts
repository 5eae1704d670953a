/** Tells when grants end, for metrics, logs, and whoever holds connections that a grant let in. */
import { systemClock } from '../core/index.js';
import type { Clock, Timer } from '../core/index.js';
import type { AuthzEngine } from './engine.js';
import type { GrantState } from './grant.js';

export interface GrantWatchOptions {
  /** Called once for each grant that has ended: at once for those that had already. What it throws is not caught. */
  readonly onEnded: (grant: GrantState) => void;
  /** Give the clock that the engine has. Default the system's. */
  readonly clock?: Clock | undefined;
}

export interface GrantWatch {
  /** Stops watching; does nothing when called again. */
  close(): void;
}

/** Wall time may jump, so it is looked at again after this much at the latest. */
const longestWaitMs = 60_000;

/**
 * Watches the grants of one engine until all have ended or `close` is called. An engine that replaces another needs a
 * watch of its own. Decisions do not depend on it: they know by themselves.
 *
 * @example
 * const watch = watchGrants(engine, { onEnded: ({ policy, owner }) => logger.warn('grant ended', { policy, owner }) });
 */
export function watchGrants(engine: AuthzEngine, { onEnded, clock = systemClock }: GrantWatchOptions): GrantWatch {
  let reported = 0;
  let timer: Timer | undefined;
  let closed = false;
  const look = (): void => {
    const grants = engine.grants();
    for (let grant = grants[reported]; !closed && grant?.ended === true; grant = grants[reported]) {
      reported += 1;
      onEnded(grant);
    }
    const next = grants[reported];
    if (closed || next === undefined) return;
    timer = clock.timer(Math.min(longestWaitMs, Math.max(1, next.notAfterMs - clock.now())), look);
  };
  look();
  return Object.freeze({
    close: () => {
      closed = true;
      timer?.cancel();
    },
  });
}
