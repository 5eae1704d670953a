import { systemRandom } from '../core/index.js';
import type { Random } from '../core/index.js';

/**
 * W3C Trace Context, `traceparent` only (version 00). It joins the two agents' log lines of one connection; it is never
 * identity, and a malformed one is replaced.
 */
export interface TraceContext {
  /** 32 hex digits. */
  readonly traceId: string;
  readonly traceparent: string;
}

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

/** Continues the caller's trace, or starts one. */
export function traceContext(traceparent?: string, random: Random = systemRandom): TraceContext {
  const match = traceparent === undefined ? null : pattern.exec(traceparent);
  const given = match?.[1];
  const traceId = given !== undefined && !/^0+$/.test(given) ? given : hex(random.bytes(16));
  return Object.freeze({ traceId, traceparent: `00-${traceId}-${hex(random.bytes(8))}-01` });
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
