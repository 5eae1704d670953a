import type { TLSSocket } from 'node:tls';
import { notify } from '../../core/index.js';
import type { Timer } from '../../core/index.js';
import { SpiffeError } from '../errors.js';
import { verifyX509Svid } from '../verify-x509-svid.js';
import type { X509Svid } from '../x509-svid.js';
import type { ResolvedMtlsOptions } from './options.js';
import { mtlsPeer } from './peer.js';

interface Connection {
  readonly certificates: readonly Uint8Array[];
  /** What we presented on it. */
  readonly svid: X509Svid;
  readonly notAfterMs: number;
}

/** Wall time may be set while a timer runs: look again at least this often. */
const longestHopMs = 60_000;

/**
 * The open connections of one helper. Their peers are verified again when the bundle changes and when their certificates
 * end. Sources are subscribed to only while there are connections, so nothing has to be closed but those.
 */
export class LiveConnections {
  readonly #options: ResolvedMtlsOptions;
  readonly #side: 'client' | 'server';
  readonly #onRenewal: () => void;
  readonly #open = new Map<TLSSocket, Connection>();
  #subscriptions: readonly Disposable[] = [];
  #timer: Timer | undefined;
  #armedForMs = 0;

  /** `onRenewal` is called after our own SVID has changed, while there are connections. */
  constructor(options: ResolvedMtlsOptions, side: 'client' | 'server', onRenewal: () => void) {
    this.#options = options;
    this.#side = side;
    this.#onRenewal = onRenewal;
  }

  add(socket: TLSSocket, connection: Connection): void {
    if (this.#open.size === 0) {
      this.#subscriptions = [
        this.#options.bundle.subscribe(() => this.#verifyAll()),
        this.#options.svid.subscribe(() => this.#onRenewal()),
      ];
    }
    this.#open.set(socket, connection);
    socket.once('close', () => this.#remove(socket));
    this.#watchEnd(connection.notAfterMs);
  }

  /** Whether `socket` is open and presents the SVID that we have now. */
  isCurrent(socket: TLSSocket): boolean {
    return this.#open.get(socket)?.svid === this.#options.svid.current;
  }

  #remove(socket: TLSSocket): void {
    if (!this.#open.delete(socket) || this.#open.size > 0) return;
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#subscriptions = [];
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #verifyAll(): void {
    const now = this.#options.clock.now();
    for (const [socket, { certificates }] of this.#open) this.#verify(socket, certificates, now);
  }

  #verify(socket: TLSSocket, certificates: readonly Uint8Array[], now: number): void {
    try {
      verifyX509Svid({ certificates, bundle: this.#options.bundle.current, now });
    } catch (error) {
      // Without an error event: no listener is owed for what happens to somebody else's certificate.
      socket.destroy();
      this.#remove(socket);
      if (!(error instanceof SpiffeError)) throw error;
      const peer = mtlsPeer(socket)?.spiffeId.toString() ?? 'unknown';
      const { code, message: reason } = error;
      notify(this.#options.observer, { type: 'mtls-connection-ended', side: this.#side, peer, code, reason });
    }
  }

  /** Arms the timer for `notAfterMs`, unless it fires before that anyway. */
  #watchEnd(notAfterMs: number): void {
    if (this.#timer !== undefined && notAfterMs >= this.#armedForMs) return;
    this.#timer?.cancel();
    const { clock } = this.#options;
    this.#armedForMs = notAfterMs;
    const leftMs = Math.max(1, Math.min(longestHopMs, notAfterMs - clock.now()));
    this.#timer = clock.timer(leftMs, () => {
      this.#timer = undefined;
      const now = clock.now();
      for (const [socket, { certificates, notAfterMs: endMs }] of this.#open) {
        if (now >= endMs) this.#verify(socket, certificates, now);
      }
      if (this.#open.size === 0) return;
      let firstEndMs = Infinity;
      for (const { notAfterMs: endMs } of this.#open.values()) firstEndMs = Math.min(firstEndMs, endMs);
      this.#watchEnd(firstEndMs);
    });
  }
}
