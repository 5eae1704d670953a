/** Bounds of the server, each with its default. */
export interface ControlPlaneLimits {
  /** TCP connections in all. Default 4 096. */
  readonly maxConnections: number;
  /** Connections that have not shown a valid certificate, those in the handshake included. Default 256. */
  readonly maxUnauthenticated: number;
  /** Connections of one SPIFFE ID. Default 16. */
  readonly maxPerPeer: number;
  /** Requests at a time on one authenticated connection. Default 128; 4 on an unauthenticated one. */
  readonly maxConcurrentRequests: number;
  /** Of one request message. Default 4 MiB; 64 KiB on an unauthenticated connection. */
  readonly maxMessageBytes: number;
  /** From accept to the end of the TLS handshake. Default 10 000 ms. */
  readonly handshakeTimeoutMs: number;
  /** From a unary request's headers to the end of its body. Default 15 000 ms. */
  readonly requestTimeoutMs: number;
  /** The whole life of an unauthenticated connection. Default 30 000 ms. */
  readonly unauthenticatedLifeMs: number;
  /** How often an authenticated connection is pinged; it ends when an answer takes as long. Default 30 000 ms. */
  readonly pingIntervalMs: number;
  /** How long `close` waits for calls under way. Default 2 000 ms. */
  readonly drainTimeoutMs: number;
}

const defaults: ControlPlaneLimits = Object.freeze({
  maxConnections: 4096,
  maxUnauthenticated: 256,
  maxPerPeer: 16,
  maxConcurrentRequests: 128,
  maxMessageBytes: 4 * 1024 * 1024,
  handshakeTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  unauthenticatedLifeMs: 30_000,
  pingIntervalMs: 30_000,
  drainTimeoutMs: 2000,
});

/** Throws `RangeError` for a limit that is not a positive number. */
export function resolveLimits(given: Partial<ControlPlaneLimits> = {}): ControlPlaneLimits {
  const limits = { ...defaults };
  for (const key of Object.keys(defaults) as (keyof ControlPlaneLimits)[]) {
    const value = given[key];
    if (value === undefined) continue;
    if (!(Number.isFinite(value) && value > 0)) throw new RangeError(`expected ${key} to be > 0, got ${String(value)}`);
    (limits as Record<keyof ControlPlaneLimits, number>)[key] = value;
  }
  return Object.freeze(limits);
}
