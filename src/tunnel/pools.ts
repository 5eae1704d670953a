import { formatSocketAddress, parseSocketAddress, socketAddress } from '../core/index.js';
import { SpiffeId, authorizeId } from '../spiffe/index.js';
import type { PeerAuthorizer } from '../spiffe/index.js';
import type { TunnelConnectOptions } from './client-options.js';
import type { ClientSession } from './client-session.js';
import { Pool } from './pool.js';
import type { PoolOptions } from './pool.js';

/** The pools of a client, by address and by who is expected there. */
export class Pools {
  readonly #shared: Omit<PoolOptions, 'address' | 'authorize'>;
  readonly #pools = new Map<string, Pool>();
  readonly #authorizerKeys = new WeakMap<PeerAuthorizer, string>();
  #authorizerCount = 0;

  constructor(shared: Omit<PoolOptions, 'address' | 'authorize'>) {
    this.#shared = shared;
  }

  all(): Iterable<Pool> {
    return this.#pools.values();
  }

  sessions(): ClientSession[] {
    return [...this.#pools.values()].flatMap((pool) => [...pool.sessions]);
  }

  /** The pool for such a connect. Take it anew for each attempt: pools that have emptied are dropped. */
  for(options: Pick<TunnelConnectOptions, 'address' | 'peer'>): Pool {
    const { address: given, peer } = options;
    const address = typeof given === 'string' ? parseSocketAddress(given) : socketAddress(given.ip, given.port);
    const { key, authorize } = this.#expectation(peer);
    const poolKey = `${formatSocketAddress(address)} ${key}`;
    const known = this.#pools.get(poolKey);
    if (known !== undefined) return known;
    for (const [other, { empty }] of this.#pools) if (empty) this.#pools.delete(other);
    const pool = new Pool({ ...this.#shared, address, authorize });
    this.#pools.set(poolKey, pool);
    return pool;
  }

  #expectation(peer: TunnelConnectOptions['peer']): { readonly key: string; readonly authorize: PeerAuthorizer } {
    if (typeof peer !== 'function') {
      const expected = asSpiffeId(peer);
      return { key: expected.toString(), authorize: authorizeId(expected) };
    }
    let key = this.#authorizerKeys.get(peer);
    if (key === undefined) {
      this.#authorizerCount += 1;
      key = `authorizer-${String(this.#authorizerCount)}`;
      this.#authorizerKeys.set(peer, key);
    }
    return { key, authorize: peer };
  }
}

export function asSpiffeId(peer: SpiffeId | string): SpiffeId {
  return typeof peer === 'string' ? SpiffeId.parse(peer) : peer;
}
