import { Code, ConnectError } from '@connectrpc/connect';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { describeError, isMeshwrightError, silentLogger, systemClock } from '../../core/index.js';
import type { Clock, LeaseOwner, LeaseStore, Logger } from '../../core/index.js';
import { readAgentId } from '../../spiffe/index.js';
import type { SpiffeId } from '../../spiffe/index.js';
import { LeaseService } from '../gen/mesh_pb.js';

export interface LeaseRoutesOptions {
  readonly leases: LeaseStore;
  /** The verified client of a call, `undefined` when it presented no certificate. Must not guess. */
  readonly peerOf: (context: HandlerContext) => { readonly spiffeId: SpiffeId } | undefined;
  /** Whether `node` may hold the lease `name` now. */
  readonly mayHold: (node: string, name: string) => boolean;
  /**
   * No lease is granted so long after the start: 0 to 600 000 ms. Default 0, for a store that outlives this process. With one
   * in memory, the longest `ttlMs` in use: who holds a lease of before the start may take it as valid that long.
   */
  readonly graceMs?: number | undefined;
  /** The longest lease that is granted: 100 to 600 000 ms. Default 600 000; with a `graceMs`, no more than that. */
  readonly maxTtlMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** Longest lease that is ever granted: what a node that hangs can keep from the others. */
const longestTtlMs = 600_000;

/**
 * Leases of virtual IPs as a gRPC service, for agents. A node acts for itself alone: holders are `node` or `node/…` of the
 * caller's certificate, and a fencing token, which everybody may know, is good for nothing in the hands of another node.
 *
 * @example
 * ControlPlaneServer.listen({ …, routes: [leaseRoutes({ leases, peerOf, mayHold: vipLeases(state) })] });
 */
export function leaseRoutes(options: LeaseRoutesOptions): (router: ConnectRouter) => void {
  const { leases, peerOf, mayHold, graceMs = 0, clock = systemClock, logger = silentLogger } = options;
  if (!(graceMs >= 0 && graceMs <= longestTtlMs)) {
    throw new RangeError(`expected graceMs from 0 to ${String(longestTtlMs)}, got ${String(graceMs)}`);
  }
  // A longer one could still be held, by its holder's clock, when the next start grants it to somebody else.
  const most = graceMs === 0 ? longestTtlMs : graceMs;
  const { maxTtlMs = most } = options;
  if (!(maxTtlMs >= 100 && maxTtlMs <= most)) {
    throw new RangeError(`expected maxTtlMs from 100 to ${String(most)}, got ${String(maxTtlMs)}`);
  }
  const grantsFromMs = clock.monotonicMs() + graceMs;

  const nodeOf = (context: HandlerContext, name: string): string => {
    const peer = peerOf(context);
    if (peer === undefined) throw new ConnectError('this call needs the agent’s own SVID', Code.Unauthenticated);
    const node = readAgentId(peer.spiffeId)?.node;
    if (node === undefined) {
      throw new ConnectError(`${peer.spiffeId.toString()} is not an agent`, Code.PermissionDenied);
    }
    if (mayHold(node, name)) return node;
    logger.warn('lease refused', { node, lease: name, reason: 'not assigned to this node' });
    throw new ConnectError(`node ${node} is not assigned ${JSON.stringify(name)}`, Code.PermissionDenied);
  };

  /** The lease as the store knows it, if it is this node's and this token's. */
  const ownLease = async (node: string, name: string, fencingToken: bigint): Promise<LeaseOwner | undefined> => {
    const owner = await ownerOf(leases, name);
    return owner?.fencingToken === fencingToken && isHolderOf(node, owner.holder) ? owner : undefined;
  };

  return (router) => {
    router.service(LeaseService, {
      acquire: ({ name, ttlMs, holder }, context) =>
        answering(async () => {
          const node = nodeOf(context, name);
          if (!isHolderOf(node, holder)) {
            throw new ConnectError(
              `expected the holder to be ${node} or to begin with ${node}/`,
              Code.PermissionDenied,
            );
          }
          checkTtl(ttlMs, maxTtlMs);
          const waitMs = Math.ceil(grantsFromMs - clock.monotonicMs());
          if (waitMs > 0) {
            const message = `leases of before the start may still be held; none is granted for ${String(waitMs)} ms`;
            throw new ConnectError(message, Code.Unavailable);
          }
          const result = await leases.acquire(name, { holder, ttlMs, signal: context.signal });
          const owner = result.acquired ? result.lease : result;
          const released = result.acquired && result.released === true;
          return {
            acquired: result.acquired,
            owner: { holder: owner.holder, fencingToken: owner.fencingToken },
            released,
          };
        }),
      renew: ({ name, fencingToken, ttlMs }, context) =>
        answering(async () => {
          const node = nodeOf(context, name);
          checkTtl(ttlMs, maxTtlMs);
          const owner = await ownLease(node, name, fencingToken);
          if (owner === undefined) return { renewed: false };
          const lease = { name, holder: owner.holder, fencingToken, ttlMs };
          return { renewed: await leases.renew(lease, { signal: context.signal }) };
        }),
      release: ({ name, fencingToken }, context) =>
        answering(async () => {
          const owner = await ownLease(nodeOf(context, name), name, fencingToken);
          if (owner === undefined) return {};
          await leases.release(
            { name, holder: owner.holder, fencingToken, ttlMs: longestTtlMs },
            { signal: context.signal },
          );
          return {};
        }),
      async *watch({ name }, context) {
        nodeOf(context, name);
        for await (const owner of leases.watch(name, { signal: context.signal })) {
          yield owner === undefined ? {} : { owner: { holder: owner.holder, fencingToken: owner.fencingToken } };
        }
      },
    });
  };
}

function isHolderOf(node: string, holder: string): boolean {
  return holder === node || holder.startsWith(`${node}/`);
}

function checkTtl(ttlMs: number, maxTtlMs: number): void {
  if (ttlMs >= 100 && ttlMs <= maxTtlMs) return;
  throw new ConnectError(
    `expected a lease of 100 to ${String(maxTtlMs)} ms, got ${String(ttlMs)}`,
    Code.InvalidArgument,
  );
}

async function ownerOf(leases: LeaseStore, name: string): Promise<LeaseOwner | undefined> {
  const enough = new AbortController();
  try {
    for await (const owner of leases.watch(name, { signal: enough.signal })) return owner;
    return undefined;
  } finally {
    enough.abort();
  }
}

/** What the store throws is not the caller's business beyond its meaning: asked wrongly, or outcome unknown. */
async function answering<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const code =
      isMeshwrightError(error) && error.code === 'CORE_OPTION_INVALID' ? Code.InvalidArgument : Code.Unavailable;
    throw new ConnectError(describeError(error), code, undefined, undefined, error);
  }
}
