import { endianness } from 'node:os';
import { nativeAddon } from './addon.js';
import type { NativeAddon, NativePoll } from './addon.js';
import { AF_NETLINK, POLL_READABLE, SOCK_RAW, SOL_SOCKET, SO_RCVBUF } from './constants.js';

/**
 * Netlink: requests with their answers, and multicast groups, over one socket. Integers are in host order, which on every
 * supported machine is little endian.
 */

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_MULTI = 0x2;
const headerBytes = 16;
const attributeTypeMask = 0x3fff;

export interface NetlinkMessage {
  readonly type: number;
  /** Without the netlink header. */
  readonly payload: Buffer;
}

export interface NetlinkOptions {
  readonly protocol: number;
  /** What needs it, for the error when the addon is missing. */
  readonly feature: string;
  /** Bit mask of multicast groups (`RTMGRP_*`). Default none. */
  readonly groups?: number | undefined;
  /** Messages of the groups. */
  readonly onMessage?: ((message: NetlinkMessage) => void) | undefined;
  /** Messages were lost (ENOBUFS): what is known is stale and must be read anew. */
  readonly onLost?: (() => void) | undefined;
  /** Keep the process alive. Default false; a request in flight always does. */
  readonly keepAlive?: boolean | undefined;
}

interface Pending {
  readonly messages: NetlinkMessage[];
  readonly isDump: boolean;
  readonly resolve: (messages: readonly NetlinkMessage[]) => void;
  readonly reject: (error: Error) => void;
}

/** A failed request: `errno` as the kernel gave it, negative. */
export class NetlinkRequestError extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`netlink request refused with errno ${String(-errno)}`);
    this.name = 'NetlinkRequestError';
    this.errno = errno;
  }
}

export class NetlinkSocket implements Disposable {
  readonly #options: NetlinkOptions;
  readonly #addon: NativeAddon;
  readonly #fd: number;
  readonly #poll: NativePoll;
  readonly #buffer = Buffer.allocUnsafe(256 * 1024);
  readonly #pending = new Map<number, Pending>();
  #sequence = 0;
  #closed = false;

  /** Opens and binds at once. Throws a `NativeError` without the addon, a `SystemError` when the kernel refuses. */
  constructor(options: NetlinkOptions) {
    if (endianness() !== 'LE') throw new Error('netlink is implemented for little-endian machines');
    this.#options = options;
    this.#addon = nativeAddon(options.feature);
    this.#fd = this.#addon.socket(AF_NETLINK, SOCK_RAW, options.protocol);
    try {
      this.#addon.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUF, 1024 * 1024);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      address.writeUInt32LE(options.groups ?? 0, 8);
      this.#addon.bind(this.#fd, address);
      this.#poll = this.#addon.poll(this.#fd, POLL_READABLE, () => this.#receive());
    } catch (error) {
      this.#addon.close(this.#fd);
      throw error;
    }
    if (options.keepAlive !== true) this.#addon.pollUnref(this.#poll);
  }

  /** Sends one request; resolves with the answers (a dump gives many). Rejects with `NetlinkRequestError`. */
  request(type: number, flags: number, payload: Uint8Array): Promise<readonly NetlinkMessage[]> {
    if (this.#closed) return Promise.reject(new Error('the netlink socket is closed'));
    const sequence = (this.#sequence = (this.#sequence + 1) >>> 0);
    const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    const message = Buffer.alloc(headerBytes + payload.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(type, 4);
    message.writeUInt16LE(flags | NLM_F_REQUEST | (isDump ? 0 : NLM_F_ACK), 6);
    message.writeUInt32LE(sequence, 8);
    message.set(payload, headerBytes);
    return new Promise((resolve, reject) => {
      this.#pending.set(sequence, { messages: [], isDump, resolve, reject });
      this.#addon.pollRef(this.#poll);
      try {
        if (this.#addon.sendto(this.#fd, message) < 0) throw new Error('the netlink socket is not writable');
      } catch (error) {
        this.#settle(sequence, (pending) => pending.reject(error as Error));
      }
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.pollClose(this.#poll);
    this.#addon.close(this.#fd);
    for (const pending of this.#pending.values()) pending.reject(new Error('the netlink socket was closed'));
    this.#pending.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #receive(): void {
    while (!this.#closed) {
      let length: number;
      try {
        const received = this.#addon.recvmsg(this.#fd, this.#buffer);
        if (received === undefined) return;
        length = received.length;
      } catch {
        // ENOBUFS: the kernel dropped messages. Answers in flight may be among them.
        this.#failAll(new Error('netlink messages were lost'));
        this.#options.onLost?.();
        continue;
      }
      // Copied: consumers keep slices, and the buffer is used again.
      for (const entry of netlinkMessages(Buffer.from(this.#buffer.subarray(0, length)))) this.#dispatch(entry);
    }
  }

  #dispatch(entry: NetlinkFrame): void {
    const pending = this.#pending.get(entry.sequence);
    if (pending === undefined) {
      if (entry.sequence === 0 || entry.type > NLMSG_DONE) this.#options.onMessage?.(entry);
      return;
    }
    if (entry.type === NLMSG_ERROR) {
      const errno = netlinkErrno(entry);
      if (errno === 0) this.#settle(entry.sequence, () => pending.resolve(pending.messages));
      else this.#settle(entry.sequence, () => pending.reject(new NetlinkRequestError(errno)));
    } else if (entry.type === NLMSG_DONE) {
      this.#settle(entry.sequence, () => pending.resolve(pending.messages));
    } else {
      pending.messages.push(entry);
      if (pending.isDump && (entry.flags & NLM_F_MULTI) === 0) {
        this.#settle(entry.sequence, () => pending.resolve(pending.messages));
      }
    }
  }

  #settle(sequence: number, how: (pending: Pending) => void): void {
    const pending = this.#pending.get(sequence);
    this.#pending.delete(sequence);
    if (this.#pending.size === 0 && this.#options.keepAlive !== true && !this.#closed)
      this.#addon.pollUnref(this.#poll);
    if (pending !== undefined) how(pending);
  }

  #failAll(error: Error): void {
    for (const sequence of [...this.#pending.keys()]) this.#settle(sequence, (pending) => pending.reject(error));
  }
}

/** A message as it was in the datagram. */
export interface NetlinkFrame extends NetlinkMessage {
  readonly sequence: number;
  readonly flags: number;
}

/** The messages of one datagram; total: what does not add up ends it. */
export function* netlinkMessages(data: Buffer): Generator<NetlinkFrame> {
  for (let offset = 0; offset + headerBytes <= data.length;) {
    const length = data.readUInt32LE(offset);
    if (length < headerBytes || offset + length > data.length) return;
    yield {
      type: data.readUInt16LE(offset + 4),
      flags: data.readUInt16LE(offset + 6),
      sequence: data.readUInt32LE(offset + 8),
      payload: data.subarray(offset + headerBytes, offset + length),
    };
    offset += (length + 3) & ~3;
  }
}

/** The number in an NLMSG_ERROR, negative; 0 is success. One too short to hold a number is no success. */
export function netlinkErrno({ payload }: NetlinkMessage): number {
  const EPROTO = 71;
  return payload.length < 4 ? -EPROTO : payload.readInt32LE(0);
}

/** The attributes of a payload from `offset` on, by type without the nesting and byte-order flags; a later one wins. */
export function netlinkAttributes(payload: Buffer, offset: number): ReadonlyMap<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= payload.length;) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) break;
    attributes.set(payload.readUInt16LE(at + 2) & attributeTypeMask, payload.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

/** Encodes one attribute, padded. */
export function netlinkAttribute(type: number, value: Uint8Array): Buffer {
  const out = Buffer.alloc((4 + value.length + 3) & ~3);
  out.writeUInt16LE(4 + value.length, 0);
  out.writeUInt16LE(type, 2);
  out.set(value, 4);
  return out;
}
