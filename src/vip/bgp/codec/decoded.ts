import type { BgpNotification } from './notification.js';

/** What a decoder returns for bytes that no peer may send: which rule they break, and what the peer is told. */
export interface BgpRefusal {
  readonly ok: false;
  readonly reason: BgpDecodeReason;
  readonly notification: BgpNotification;
}

/** Decoders are total: they return one of the two for any bytes whatever, and never throw. */
export type BgpDecoded<T> = { readonly ok: true; readonly value: T } | BgpRefusal;

/** Every rule of the wire format whose breach ends the session. */
export type BgpDecodeReason =
  | 'marker-not-ones'
  | 'message-length'
  | 'message-type'
  | 'open-version'
  | 'open-peer-as'
  | 'open-router-id'
  | 'open-hold-time'
  | 'open-parameters-malformed'
  | 'open-parameter-unsupported'
  | 'open-capability-malformed'
  | 'update-lengths'
  | 'update-prefix'
  | 'update-attribute-repeated'
  | 'update-attribute-unknown'
  | 'update-mp-reach'
  | 'update-mp-unreach';

/** What RFC 7606 lets a session survive. */
export type BgpAttributeFault =
  | 'attribute-list-overrun'
  | 'attribute-flags'
  | 'attribute-missing'
  | 'origin'
  | 'as-path'
  | 'next-hop'
  | 'med'
  | 'local-preference'
  | 'atomic-aggregate'
  | 'aggregator'
  | 'communities'
  | 'originator-id'
  | 'cluster-list'
  | 'extended-communities'
  | 'large-communities'
  | 'as4-path'
  | 'as4-aggregator'
  | 'attribute-repeated';

export function accepted<T>(value: T): BgpDecoded<T> {
  return { ok: true, value };
}

export function refused(reason: BgpDecodeReason, notification: BgpNotification): BgpRefusal {
  return { ok: false, reason, notification };
}

/** The same memory as a Buffer, for its reading methods. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
