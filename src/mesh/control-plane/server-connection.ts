import type { Http2Session } from 'node:http2';
import { describeError } from '../../core/index.js';
import type { Clock, Timer } from '../../core/index.js';
import { ControlPlaneError } from './errors.js';
import type { ControlPlaneLimits } from './limits.js';
import type { ControlPlanePeer } from './peer.js';

export interface ServerConnectionOptions {
  readonly session: Http2Session;
  /** `undefined` on a connection without a client certificate. */
  readonly peer: ControlPlanePeer | undefined;
  /** Why the peer is denied: it is told so, on a connection that lives no longer than an unauthenticated one. */
  readonly denied: string | undefined;
  readonly limits: ControlPlaneLimits;
  readonly clock: Clock;
  /** Verifies the peer's certificates anew, and returns why they are denied; throws when they no longer stand. */
  readonly verify: () => string | undefined;
  readonly onRefused: (error: ControlPlaneError) => void;
}

/** One accepted HTTP/2 connection: how long it may live, and whether its other end is still there. */
export class ServerConnection {
  readonly peer: ControlPlanePeer | undefined;
  readonly denied: string | undefined;
  readonly #options: ServerConnectionOptions;
  #end: Timer | undefined;
  #ping: Timer | undefined;

  constructor(options: ServerConnectionOptions) {
    const { peer, denied, clock, limits, session } = options;
    this.peer = peer;
    this.denied = denied;
    this.#options = options;
    session.on('error', () => undefined);
    if (peer === undefined || denied !== undefined) {
      this.#end = clock.timer(limits.unauthenticatedLifeMs, () => this.destroy());
    } else {
      this.#endWith(peer.notAfter);
      this.#pingLater();
    }
  }

  /** Whether requests may still be served; ends the connection when not. Wall time decides, whatever the timers did. */
  stillValid(): boolean {
    if (this.peer !== undefined && this.#options.clock.now() >= this.peer.notAfter.getTime()) this.verifyAgain();
    return !this.#options.session.destroyed;
  }

  /**
   * Ends the connection when the peer's certificate no longer verifies, or when it was denied since, or is no longer: what it
   * may call from now on is decided when it comes back.
   */
  verifyAgain(): void {
    try {
      const denied = this.#options.verify();
      if ((denied === undefined) === (this.denied === undefined)) return;
      if (denied !== undefined) this.#options.onRefused(deniedError(denied));
    } catch (cause) {
      const message = `the certificate of a connected peer no longer stands: ${describeError(cause)}`;
      this.#options.onRefused(new ControlPlaneError('MESH_CONTROL_PLANE_UNTRUSTED', message, { cause }));
    }
    this.destroy();
  }

  /** Says that no more requests are taken; the connection ends with the last one under way. */
  drain(): void {
    this.#options.session.close();
  }

  destroy(): void {
    this.#options.session.destroy();
  }

  /** The session is closed: no timer may outlive it. */
  ended(): void {
    this.#end?.cancel();
    this.#ping?.cancel();
  }

  /** In hops, since the certificate goes by wall time, which may be set back while the timer runs. */
  #endWith(notAfter: Date): void {
    const { clock } = this.#options;
    const leftMs = notAfter.getTime() - clock.now();
    this.#end = clock.timer(Math.min(60_000, Math.max(1, leftMs)), () => {
      if (this.stillValid()) this.#endWith(notAfter);
    });
  }

  #pingLater(): void {
    const { session, clock, limits } = this.#options;
    this.#ping = clock.timer(limits.pingIntervalMs, () => {
      if (session.destroyed) return;
      this.#ping = clock.timer(limits.pingIntervalMs, () => {
        const message = 'a peer stopped answering pings';
        this.#options.onRefused(new ControlPlaneError('MESH_CONTROL_PLANE_TIMEOUT', message));
        this.destroy();
      });
      session.ping((error) => {
        this.#ping?.cancel();
        if (error === null) this.#pingLater();
      });
    });
  }
}

export function deniedError(denied: string): ControlPlaneError {
  const message = `expected a peer that is not on the deny list, but ${denied}; it is told so and nothing else`;
  return new ControlPlaneError('MESH_CONTROL_PLANE_DENIED', message);
}
