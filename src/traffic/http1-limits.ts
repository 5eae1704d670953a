import { TrafficError } from './errors.js';

/** Bounds of one proxied connection. All optional; times in ms. */
export interface Http1Limits {
  /** Request line and header fields together. Default 65,536; 1024 to 1,048,576. Above: 431. */
  readonly maxHeaderBytes?: number | undefined;
  /** Header fields of a request or response. Default 256; 1 to 10,000. Above: 431 (requests), 502 (responses). */
  readonly maxHeaders?: number | undefined;
  /** Requests that may wait behind the one being answered before reading stops. Default 16; 1 to 1000. */
  readonly maxPipelined?: number | undefined;
  /** From the first byte of a request to the end of its header section. Default 30,000. After it: 408. */
  readonly headTimeoutMs?: number | undefined;
  /** Between requests of a kept connection; then it is closed. Default 3,600,000: the application's own limit comes first. */
  readonly idleTimeoutMs?: number | undefined;
  /** Without one byte of a request body that has begun. Long uploads are not bounded, stopped ones are. Default 300,000. */
  readonly bodyStallTimeoutMs?: number | undefined;
  /** How long to read on after a last response, so that the peer gets to see it. Default 1000. */
  readonly lingerMs?: number | undefined;
  /** Protocols a client may upgrade to, lower case. Their bytes are not judged. Default `['websocket']`. */
  readonly upgrades?: readonly string[] | undefined;
}

export type ResolvedHttp1Limits = { readonly [Key in keyof Http1Limits]-?: Exclude<Http1Limits[Key], undefined> };

const bounds = {
  maxHeaderBytes: [65_536, 1024, 1_048_576],
  maxHeaders: [256, 1, 10_000],
  maxPipelined: [16, 1, 1000],
  headTimeoutMs: [30_000, 1, 3_600_000],
  idleTimeoutMs: [3_600_000, 1, 86_400_000],
  bodyStallTimeoutMs: [300_000, 1, 86_400_000],
  lingerMs: [1000, 0, 60_000],
} as const;

/** Defaults filled in, bounds checked. Throws `TRAFFIC_OPTION_INVALID`. */
export function resolveHttp1Limits(limits: Http1Limits = {}): ResolvedHttp1Limits {
  const bounded = (name: keyof typeof bounds): number => {
    const [fallback, least, most] = bounds[name];
    const value = limits[name] ?? fallback;
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new TrafficError(
        'TRAFFIC_OPTION_INVALID',
        `limits.${name} must be a whole number from ${String(least)} to ${String(most)}, got ${String(value)}`,
      );
    }
    return value;
  };
  return Object.freeze({
    maxHeaderBytes: bounded('maxHeaderBytes'),
    maxHeaders: bounded('maxHeaders'),
    maxPipelined: bounded('maxPipelined'),
    headTimeoutMs: bounded('headTimeoutMs'),
    idleTimeoutMs: bounded('idleTimeoutMs'),
    bodyStallTimeoutMs: bounded('bodyStallTimeoutMs'),
    lingerMs: bounded('lingerMs'),
    upgrades: Object.freeze((limits.upgrades ?? ['websocket']).map((name) => name.toLowerCase())),
  });
}
