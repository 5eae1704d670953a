import { headerBytes, markerBytes, maxMessageBytes, messageTypes } from './constants.js';
import { accepted, asBuffer, refused } from './decoded.js';
import type { BgpDecoded } from './decoded.js';
import { notification } from './notification.js';

/** A message cut out of the stream, with its header checked (RFC 4271 section 6.1). */
export interface BgpFrame {
  /** One of `messageTypes`. */
  readonly type: number;
  /** Without the header; a view of the received bytes, valid until the framer is fed again. */
  readonly body: Buffer;
}

/** The shortest and longest message of each type, header included. */
const lengths: Readonly<Record<number, readonly [number, number]>> = Object.freeze({
  [messageTypes.open]: [29, maxMessageBytes],
  [messageTypes.update]: [23, maxMessageBytes],
  [messageTypes.notification]: [21, maxMessageBytes],
  [messageTypes.keepalive]: [headerBytes, headerBytes],
  [messageTypes.routeRefresh]: [23, 23],
});

/** Cuts a byte stream into messages. It keeps at most one unfinished message (4096 bytes) beside the last chunk. */
export class BgpFramer {
  #buffer: Buffer = Buffer.alloc(0);
  #offset = 0;

  push(chunk: Uint8Array): void {
    const rest = this.#buffer.subarray(this.#offset);
    this.#buffer = rest.length === 0 ? asBuffer(chunk) : Buffer.concat([rest, chunk]);
    this.#offset = 0;
  }

  /** The next whole message, undefined when more bytes are needed. After a refusal the stream is lost. */
  next(): BgpDecoded<BgpFrame> | undefined {
    const left = this.#buffer.subarray(this.#offset);
    const known = left.subarray(0, markerBytes);
    if (known.some((byte) => byte !== 0xff)) return refused('marker-not-ones', notification(1, 1));
    if (left.length < headerBytes) return undefined;
    const length = left.readUInt16BE(16);
    const type = left[18] ?? 0;
    if (length < headerBytes || length > maxMessageBytes) return badLength(left);
    const bounds = lengths[type];
    if (bounds === undefined) return refused('message-type', notification(1, 3, Uint8Array.of(type)));
    if (length < bounds[0] || length > bounds[1]) return badLength(left);
    if (left.length < length) return undefined;
    this.#offset += length;
    return accepted({ type, body: left.subarray(headerBytes, length) });
  }

  /** Bytes that wait for the rest of their message. */
  get pendingBytes(): number {
    return this.#buffer.length - this.#offset;
  }
}

function badLength(header: Buffer): BgpDecoded<BgpFrame> {
  return refused('message-length', notification(1, 2, Uint8Array.from(header.subarray(16, 18))));
}

/** Puts the header before a body. The body must leave the message within 4096 bytes. */
export function encodeMessage(type: number, ...body: readonly Uint8Array[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, headerBytes);
  if (length > maxMessageBytes) throw new RangeError(`a BGP message of ${String(length)} bytes does not exist`);
  const header = Buffer.alloc(headerBytes, 0xff);
  header.writeUInt16BE(length, 16);
  header[18] = type;
  return Buffer.concat([header, ...body]);
}

export function encodeKeepalive(): Buffer {
  return encodeMessage(messageTypes.keepalive);
}
