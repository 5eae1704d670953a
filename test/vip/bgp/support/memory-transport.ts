import { BgpFramer, encodeKeepalive, encodeMessage } from '../../../../src/vip/bgp/codec/framing.js';
import { decodeMessage } from '../../../../src/vip/bgp/codec/message.js';
import type { BgpMessage } from '../../../../src/vip/bgp/codec/message.js';
import { encodeNotificationBody } from '../../../../src/vip/bgp/codec/notification.js';
import type { BgpNotification } from '../../../../src/vip/bgp/codec/notification.js';
import { encodeOpen } from '../../../../src/vip/bgp/codec/open.js';
import type { BgpOpen } from '../../../../src/vip/bgp/codec/open.js';
import type {
  BgpConnection,
  BgpConnectionHandlers,
  BgpDialCallbacks,
  BgpDialOptions,
  BgpListener,
  BgpListenOptions,
  BgpTransport,
  BgpTtl,
  TcpHints,
} from '../../../../src/vip/bgp/transport/transport.js';

/** One connection, played from the peer's side. */
export class RemoteEnd implements BgpConnection {
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remotePort = 40_000;
  /** What the kernel would say to a write. */
  takesWrites = true;
  state: 'open' | 'ended' | 'destroyed' | 'closed' = 'open';
  ttl: BgpTtl | undefined;
  readonly #framer = new BgpFramer();
  #handlers: BgpConnectionHandlers | undefined;

  constructor(localAddress: string, remoteAddress: string) {
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
  }

  start(handlers: BgpConnectionHandlers): void {
    this.#handlers = handlers;
  }

  write(bytes: Uint8Array): boolean {
    this.#framer.push(Buffer.from(bytes));
    return this.takesWrites;
  }

  end(): Promise<void> {
    if (this.state === 'open') this.state = 'ended';
    this.#handlers = undefined;
    return Promise.resolve();
  }

  destroy(): void {
    if (this.state === 'open') this.state = 'destroyed';
    this.#handlers = undefined;
  }

  applyTtl(ttl: BgpTtl): void {
    this.ttl = ttl;
  }

  // The peer's side.

  send(bytes: Uint8Array): void {
    this.#handlers?.data(Buffer.from(bytes));
  }

  open(open: Partial<BgpOpen> = {}): void {
    const whole = { as: 64_512, holdTimeSeconds: 90, routerId: '10.0.0.254', ...open };
    const {
      capabilities = { families: ['ipv4' as const, 'ipv6' as const], routeRefresh: true, fourOctetAs: whole.as },
    } = open;
    this.send(encodeOpen({ ...whole, capabilities }));
  }

  keepalive(): void {
    this.send(encodeKeepalive());
  }

  notify(what: BgpNotification): void {
    this.send(encodeMessage(3, encodeNotificationBody(what)));
  }

  /** OPEN and KEEPALIVE: the session is up. */
  establish(open: Partial<BgpOpen> = {}): void {
    this.open(open);
    this.keepalive();
  }

  drained(): void {
    this.takesWrites = true;
    this.#handlers?.drained();
  }

  close(error?: Error): void {
    this.state = 'closed';
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.closed(error);
  }

  /** The messages that came since the last call. */
  received(): readonly BgpMessage[] {
    const out: BgpMessage[] = [];
    for (let frame = this.#framer.next(); frame !== undefined; frame = this.#framer.next()) {
      if (!frame.ok) throw new Error(frame.reason);
      const message = decodeMessage(frame.value, { fourOctetAs: true, internal: false });
      if (!message.ok) throw new Error(message.reason);
      out.push(message.value);
    }
    return out;
  }

  /** As `received`, in short: `open`, `keepalive`, `notification 6/7`, `update +2 -0`, `end-of-rib ipv4`. */
  said(): readonly string[] {
    return this.received().map((message) => {
      if (message.type === 'notification') {
        return `notification ${String(message.notification.code)}/${String(message.notification.subcode)}`;
      }
      if (message.type !== 'update') return message.type;
      const { announced, withdrawn, endOfRib } = message.update;
      return endOfRib === undefined
        ? `update +${String(announced.length)} -${String(withdrawn.length)}`
        : `end-of-rib ${endOfRib}`;
    });
  }
}

export interface RecordedDial {
  readonly options: BgpDialOptions;
  readonly callbacks: BgpDialCallbacks;
  cancelled: boolean;
}

/** TCP without a network: the test answers dials and makes connections. */
export class MemoryTransport implements BgpTransport {
  readonly dials: RecordedDial[] = [];
  readonly passwords = new Map<string, string | undefined>();
  hintsNow: TcpHints | undefined;
  #onConnection: ((connection: BgpConnection) => void) | undefined;

  dial(options: BgpDialOptions, callbacks: BgpDialCallbacks): { cancel(): void } {
    const dial: RecordedDial = { options, callbacks, cancelled: false };
    this.dials.push(dial);
    return {
      cancel: () => {
        dial.cancelled = true;
      },
    };
  }

  listen(options: BgpListenOptions): Promise<BgpListener> {
    this.#onConnection = options.onConnection;
    const listener: BgpListener = {
      port: options.port,
      setPassword: (address, password) => void this.passwords.set(address, password),
      close: () => Promise.resolve(),
    };
    return Promise.resolve(listener);
  }

  hints(): TcpHints | undefined {
    return this.hintsNow;
  }

  /** The newest dial (to `address`) is answered. */
  answer(address?: string): RemoteEnd {
    const dial = this.dials.findLast(
      ({ options, cancelled }) => !cancelled && (address === undefined || options.address === address),
    );
    if (dial === undefined) throw new Error('nobody dials');
    const remote = new RemoteEnd(dial.options.localAddress ?? '10.0.0.1', dial.options.address);
    dial.callbacks.connected(remote);
    return remote;
  }

  /** A connection from outside. */
  incoming(from = '10.0.0.254', to = '10.0.0.1'): RemoteEnd {
    const remote = new RemoteEnd(to, from);
    this.#onConnection?.(remote);
    return remote;
  }
}
