import { TunnelError } from './errors.js';

/**
 * The bounds of a tunnel. Sizes and streams follow what Istio's ztunnel uses on the same wire, so that the two behave
 * alike side by side.
 */
export interface TunnelLimits {
  /** HTTP/2 flow-control window per stream, in bytes; also the most a stream nobody reads can hold. Default 4 MiB. */
  readonly streamWindowBytes: number;
  /** Flow-control window per session, in bytes. Keep it above the stream window. Default 16 MiB. */
  readonly connectionWindowBytes: number;
  /** Largest HTTP/2 frame taken, in bytes. Default 1 MiB. */
  readonly maxFrameBytes: number;
  /** Largest header list taken, in bytes as HTTP/2 counts them. Default 64 KiB. */
  readonly maxHeaderListBytes: number;
  /** HPACK table at either end, in bytes: a token header costs a few bytes when repeated. Default 64 KiB. */
  readonly headerTableBytes: number;
  /** Memory for one HTTP/2 session before it refuses streams, in MiB. Default 64. */
  readonly maxSessionMemoryMiB: number;
  /** Streams at once per session. Default 200 at the server, 100 at the client (the peer's own limit counts as well). */
  readonly maxStreamsPerSession: number;
  /** Sessions at once with one SPIFFE ID. Default 64. */
  readonly maxSessionsPerPeer: number;
  /** A PING goes out this long after the last one was answered. Default 10 s. */
  readonly keepaliveIntervalMs: number;
  /** A PING unanswered for this long ends the session. Default 20 s. */
  readonly keepaliveTimeoutMs: number;
  /** `close()` gives running streams this long, then resets them. Default 5 s. */
  readonly drainTimeoutMs: number;
  /** A session without a stream for this long is released. Default 5 min at the client, 1 h at the server. */
  readonly idleTimeoutMs: number;
  /** Server: open TCP connections at once. Default 4096. */
  readonly maxConnections: number;
  /** Server: connections at once that have not proven who they are. Default 256. */
  readonly maxPendingHandshakes: number;
  /** Server: the same from one IP address. Default 64. */
  readonly maxPendingHandshakesPerAddress: number;
  /** Server: for the TLS handshake, and again for the HTTP/2 preface after it. Default 10 s. */
  readonly handshakeTimeoutMs: number;
  /** Server: for `onConnect` and `onAnnounce` to answer; then 503. Default 15 s. */
  readonly answerTimeoutMs: number;
  /** Server: streams a peer may reset in one burst before its session is ended. Default 500. */
  readonly resetBurst: number;
  /** Server: resets per second that refill the burst. Default 50. */
  readonly resetsPerSecond: number;
  /** Client: for TCP, TLS and the first SETTINGS together. Default 10 s. */
  readonly connectTimeoutMs: number;
  /** Client: for the answer to a CONNECT or to evidence. Default 20 s. */
  readonly responseTimeoutMs: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const day = 86_400_000;

/** Default, smallest, largest. */
const bounds: Readonly<Record<keyof TunnelLimits, readonly [number, number, number]>> = {
  streamWindowBytes: [4 * MiB, 65_535, 2 ** 31 - 1],
  connectionWindowBytes: [16 * MiB, 65_535, 2 ** 31 - 1],
  maxFrameBytes: [MiB, 16_384, 2 ** 24 - 1],
  maxHeaderListBytes: [64 * KiB, 4 * KiB, MiB],
  headerTableBytes: [64 * KiB, 4 * KiB, MiB],
  maxSessionMemoryMiB: [64, 1, 4096],
  maxStreamsPerSession: [100, 1, 10_000],
  maxSessionsPerPeer: [64, 1, 100_000],
  keepaliveIntervalMs: [10_000, 10, day],
  keepaliveTimeoutMs: [20_000, 10, day],
  drainTimeoutMs: [5_000, 0, day],
  idleTimeoutMs: [300_000, 10, 30 * day],
  maxConnections: [4096, 1, 1_000_000],
  maxPendingHandshakes: [256, 1, 1_000_000],
  maxPendingHandshakesPerAddress: [64, 1, 1_000_000],
  handshakeTimeoutMs: [10_000, 10, 120_000],
  answerTimeoutMs: [15_000, 10, day],
  resetBurst: [500, 1, 1_000_000],
  resetsPerSecond: [50, 1, 1_000_000],
  connectTimeoutMs: [10_000, 10, 120_000],
  responseTimeoutMs: [20_000, 10, day],
};

/** Server defaults that differ from the table above. */
export const serverLimitDefaults: Partial<TunnelLimits> = { maxStreamsPerSession: 200, idleTimeoutMs: 3_600_000 };

/** `given` over `defaults` over the table, every value checked. Throws `TUNNEL_OPTION_INVALID`. */
export function resolveLimits(
  given: Partial<{ [Key in keyof TunnelLimits]: TunnelLimits[Key] | undefined }> = {},
  defaults: Partial<TunnelLimits> = {},
): TunnelLimits {
  const resolved: Record<string, number> = {};
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(bounds, name)) {
      throw new TunnelError('TUNNEL_OPTION_INVALID', `limits.${name} is not a limit of the tunnel`);
    }
  }
  for (const [key, [standard, smallest, largest]] of Object.entries(bounds)) {
    const name = key as keyof TunnelLimits;
    const value = given[name] ?? defaults[name] ?? standard;
    if (!Number.isInteger(value) || value < smallest || value > largest) {
      throw new TunnelError(
        'TUNNEL_OPTION_INVALID',
        `limits.${name} must be a whole number from ${String(smallest)} to ${String(largest)}, got ${String(value)}`,
      );
    }
    resolved[name] = value;
  }
  return Object.freeze(resolved) as unknown as TunnelLimits;
}
