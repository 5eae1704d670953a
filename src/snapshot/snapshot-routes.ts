import { Code, ConnectError } from '@connectrpc/connect';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { noObserver, notify, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import { readAgentId } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import { AgentStream } from './agent-stream.js';
import { SnapshotError } from './errors.js';
import type { SnapshotEvent } from './events.js';
import { SnapshotService } from './gen/snapshot_pb.js';
import type { SnapshotPublisher } from './snapshot-publisher.js';

/** The verified other end of a connection: what its certificate says, after the certificate was verified. */
export interface SnapshotPeer {
  readonly spiffeId: SpiffeId;
  /** RFC 7638 thumbprint of the key of this very connection. */
  readonly keyThumbprint: string;
  /** End of the certificate; the stream ends with it. */
  readonly notAfter?: Date | undefined;
}

export interface SnapshotRoutesOptions<T> {
  readonly publisher: SnapshotPublisher<T>;
  /** The verified client of a call, `undefined` when it presented no certificate. Must not guess. */
  readonly peerOf: (context: HandlerContext) => SnapshotPeer | undefined;
  /** Between two heartbeats: 100 to 60 000 ms. Default 5 000. An agent silent for three of them is dropped. */
  readonly heartbeatMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<SnapshotEvent> | undefined;
}

/**
 * The snapshot stream as a gRPC service. Only agents (`/agent/<node>`) may call it, and each gets the snapshot of its own
 * node: which node that is comes from its certificate, never from the message. A newer stream of a node replaces the
 * older one. Throws `SNAPSHOT_OPTION_INVALID`.
 */
export function snapshotRoutes<T>(options: SnapshotRoutesOptions<T>): (router: ConnectRouter) => void {
  const { publisher, peerOf, heartbeatMs = 5_000, clock = systemClock } = options;
  const logger = options.logger ?? silentLogger;
  const observer = options.observer ?? noObserver;
  if (!(heartbeatMs >= 100 && heartbeatMs <= 60_000)) {
    const message = `expected heartbeatMs from 100 to 60000, got ${String(heartbeatMs)}`;
    throw new SnapshotError('SNAPSHOT_OPTION_INVALID', message);
  }
  const streams = new Map<string, AgentStream>();
  const refuse = (code: Code, reason: string): ConnectError => {
    logger.warn('snapshot stream refused', { reason });
    notify(observer, { type: 'snapshot-stream-refused', reason });
    return new ConnectError(reason, code);
  };
  return (router) => {
    router.service(SnapshotService, {
      async *watch(requests, context) {
        const peer = peerOf(context);
        if (peer === undefined) {
          throw refuse(Code.Unauthenticated, 'this call needs a client certificate: the agent’s own SVID');
        }
        const node = readAgentId(peer.spiffeId)?.node;
        if (node === undefined) throw refuse(Code.PermissionDenied, `${peer.spiffeId.toString()} is not an agent`);
        if (peer.notAfter !== undefined && peer.notAfter.getTime() <= clock.now()) {
          throw refuse(Code.Unauthenticated, `the certificate of ${peer.spiffeId.toString()} has expired`);
        }
        const child = logger.child({ node });
        const stream = new AgentStream({ attached: publisher.attach(node), heartbeatMs, clock, logger: child, peer });
        streams.get(node)?.end(new ConnectError('a newer stream of this node took over', Code.Aborted));
        streams.set(node, stream);
        child.info('agent connected', { peer: peer.spiffeId.toString() });
        try {
          yield* stream.run(requests, context.signal);
        } finally {
          if (streams.get(node) === stream) streams.delete(node);
          child.info('agent disconnected');
        }
      },
    });
  };
}
