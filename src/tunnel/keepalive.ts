import type { Http2Session } from 'node:http2';
import type { Clock, Timer } from '../core/index.js';
import type { TunnelLimits } from './limits.js';

/**
 * PINGs the other end `keepaliveIntervalMs` after each answer and calls `onDead`, once, when one stays unanswered for
 * `keepaliveTimeoutMs`. A peer stuck in half a frame cannot answer either, so this also bounds half-sent requests.
 *
 * A session that has said or heard GOAWAY is asked by an empty SETTINGS frame, which a peer must acknowledge just as well:
 * its streams may run on for days, and Node sends no PING on it any more.
 */
export function startKeepalive(
  session: Http2Session,
  clock: Clock,
  limits: Pick<TunnelLimits, 'keepaliveIntervalMs' | 'keepaliveTimeoutMs'>,
  onDead: () => void,
): Timer {
  let timer: Timer;
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    timer.cancel();
  };
  const schedule = (): void => {
    timer = clock.timer(limits.keepaliveIntervalMs, ping);
  };
  const ping = (): void => {
    if (stopped || session.destroyed) return;
    timer = clock.timer(limits.keepaliveTimeoutMs, () => {
      stop();
      onDead();
    });
    const answered = (error: Error | null): void => {
      if (stopped || error !== null) return;
      timer.cancel();
      schedule();
    };
    try {
      if (session.closed) session.settings({}, answered);
      else session.ping(answered);
    } catch {
      // The session is closing; its own end stops the timer.
    }
  };
  schedule();
  return { cancel: stop };
}
