import type { SocketAddress } from '../core/index.js';

/** What the listeners and the interception report to an `Observer`. */
export type TproxyEvent =
  | { readonly type: 'tproxy.connection'; readonly originalDestination: SocketAddress; readonly source: SocketAddress }
  | {
      readonly type: 'tproxy.connection-refused';
      /** `loop`: it was sent to the listener's own address. `limit`: `maxConnections` is reached. */
      readonly reason: 'loop' | 'limit' | 'no-original-destination' | 'handler-failed';
      readonly originalDestination?: SocketAddress | undefined;
      readonly source?: SocketAddress | undefined;
    }
  | {
      readonly type: 'tproxy.rules-applied';
      readonly backend: string;
      readonly mode: string;
      readonly durationMs: number;
    }
  | { readonly type: 'tproxy.rules-failed'; readonly backend: string; readonly error: string }
  | { readonly type: 'tproxy.rules-drifted'; readonly problems: readonly string[] };
