/** What the speaker needs of TCP. The real one is `TcpTransport`; tests put pipes in its place. */

/** An established connection. Handlers are called from the event loop, never from within a call. */
export interface BgpConnection {
  /** Canonical addresses of both ends. */
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Sets what arrives where; called once, at once. */
  start(handlers: BgpConnectionHandlers): void;
  /** False when it is not yet on its way: `drained` follows. */
  write(bytes: Uint8Array): boolean;
  /** Sends what was written, then closes, by force after a moment; resolves when closed. */
  end(): Promise<void>;
  /** Closes at once, without a word. */
  destroy(): void;
  /** For accepted connections: what the kernel is to send and to demand. */
  applyTtl(ttl: BgpTtl): void;
}

export interface BgpConnectionHandlers {
  readonly data: (chunk: Buffer) => void;
  readonly drained: () => void;
  /** Once, whoever closed it; not after `end` or `destroy`. */
  readonly closed: (error: Error | undefined) => void;
}

export interface BgpTtl {
  /** TTL or hop limit of what is sent: 1 to 255. */
  readonly ttl: number;
  /** Packets with a lower one are dropped by the kernel (GTSM, RFC 5082). */
  readonly minTtl?: number | undefined;
}

/** How a peer is reached. */
export interface BgpDialOptions extends BgpTtl {
  readonly address: string;
  readonly port: number;
  readonly localAddress?: string | undefined;
  /** TCP MD5 (RFC 2385): at most 80 bytes. */
  readonly password?: string | undefined;
}

export interface BgpDialCallbacks {
  readonly connected: (connection: BgpConnection) => void;
  /** Not after `cancel`. May be called from within `dial`. */
  readonly failed: (error: Error) => void;
}

export interface BgpListenOptions {
  /** Addresses to listen on, one socket each; `0.0.0.0` and `::` are apart. */
  readonly hosts: readonly string[];
  /** Leave out hosts of a family that this machine does not have, as long as one is left. */
  readonly skipMissingFamilies: boolean;
  readonly port: number;
  readonly onConnection: (connection: BgpConnection) => void;
}

export interface BgpListener {
  /** The port listened on, of the first host. */
  readonly port: number;
  /** Sets or clears (undefined) the password that the kernel demands from an address. */
  setPassword(address: string, password: string | undefined): void;
  close(): Promise<void>;
}

/** Counters of the kernel that tell why silence is silence. They belong to the whole network namespace. */
export interface TcpHints {
  /** Segments dropped for a wrong, a missing or an unexpected MD5 signature. */
  readonly md5Failures: number;
  /** Segments dropped for a TTL below the minimum. */
  readonly ttlDrops: number;
}

export interface BgpTransport {
  dial(options: BgpDialOptions, callbacks: BgpDialCallbacks): { cancel(): void };
  listen(options: BgpListenOptions): Promise<BgpListener>;
  /** Undefined where the kernel does not tell. */
  hints(): TcpHints | undefined;
}
