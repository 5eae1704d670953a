import { afiOf, familyOf, messageTypes, safiUnicast } from './constants.js';
import type { BgpFamily } from './constants.js';
import { asBuffer } from './decoded.js';
import { encodeMessage } from './framing.js';

/** ROUTE-REFRESH (RFC 2918): "send me all routes of this family again". */
export interface BgpRouteRefresh {
  /** Undefined for a family that this speaker does not know; the request is then ignored. */
  readonly family: BgpFamily | undefined;
}

/** Total; the framing has checked the length. A message subtype other than 0 (RFC 7313, not negotiated) is ignored. */
export function decodeRouteRefresh(bytes: Uint8Array): BgpRouteRefresh {
  const body = asBuffer(bytes);
  if (body.length < 4 || body[2] !== 0) return { family: undefined };
  return { family: familyOf(body.readUInt16BE(0), body[3] ?? 0) };
}

export function encodeRouteRefresh(family: BgpFamily): Buffer {
  return encodeMessage(messageTypes.routeRefresh, Uint8Array.of(0, afiOf[family], 0, safiUnicast));
}
