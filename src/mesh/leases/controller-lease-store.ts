import { createClient } from '@connectrpc/connect';
import type { Client, Transport } from '@connectrpc/connect';
import { checkLeaseRequest, sleep, systemClock } from '../../core/index.js';
import type {
  AcquireOptions,
  Clock,
  Lease,
  LeaseAcquisition,
  LeaseOwner,
  LeaseRequestOptions,
  LeaseStore,
} from '../../core/index.js';
import { LeaseService } from '../gen/mesh_pb.js';
import { MeshError } from '../errors.js';

export interface ControllerLeaseStoreOptions {
  /** `controlPlaneTransport`: verified both ways. */
  readonly transport: Transport;
  /** Of one call; 50 to 60 000 ms. Default 1 000: an answer that comes after the lease has ended is no use. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
}

/** Between two attempts of a watch that was cut off. */
const watchRetryMs = 250;

/**
 * The controller's leases as an agent uses them (`leaseRoutes` is the other end). Failed calls reject with `MESH_LEASE_FAILED`:
 * refused, or outcome unknown. While the controller is away no lease is renewed, so that virtual IPs which need one are
 * given up; where that matters, let the agents use a store of several machines, such as `EtcdLeaseStore`.
 *
 * @example
 * const leases = new ControllerLeaseStore({ transport: controlPlaneTransport({ address, svid, bundle, controller }) });
 */
export class ControllerLeaseStore implements LeaseStore {
  readonly #client: Client<typeof LeaseService>;
  readonly #timeoutMs: number;
  readonly #clock: Clock;

  constructor(options: ControllerLeaseStoreOptions) {
    const { timeoutMs = 1_000 } = options;
    if (!(timeoutMs >= 50 && timeoutMs <= 60_000)) throw new RangeError('expected timeoutMs from 50 to 60000');
    this.#client = createClient(LeaseService, options.transport);
    this.#timeoutMs = timeoutMs;
    this.#clock = options.clock ?? systemClock;
  }

  async acquire(name: string, { holder, ttlMs, signal }: AcquireOptions): Promise<LeaseAcquisition> {
    signal?.throwIfAborted();
    checkLeaseRequest(name, { holder, ttlMs });
    const { acquired, owner, released } = await this.#call('acquire', name, () =>
      this.#client.acquire({ name, ttlMs, holder }, this.#options(signal)),
    );
    if (owner === undefined) throw failed('acquire', name, new Error('the controller answered without an owner'));
    if (!acquired) return { acquired: false, holder: owner.holder, fencingToken: owner.fencingToken };
    return {
      acquired: true,
      released,
      lease: Object.freeze({ name, holder, fencingToken: owner.fencingToken, ttlMs }),
    };
  }

  async renew({ name, fencingToken, ttlMs }: Lease, { signal }: LeaseRequestOptions = {}): Promise<boolean> {
    const { renewed } = await this.#call('renew', name, () =>
      this.#client.renew({ name, fencingToken, ttlMs }, this.#options(signal)),
    );
    return renewed;
  }

  async release({ name, fencingToken }: Lease, { signal }: LeaseRequestOptions = {}): Promise<void> {
    await this.#call('release', name, () => this.#client.release({ name, fencingToken }, this.#options(signal)));
  }

  async *watch(
    name: string,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterableIterator<LeaseOwner | undefined> {
    let last: string | undefined;
    while (!signal.aborted) {
      // connect goes on with a stream whose reader has left, until its signal aborts.
      const left = new AbortController();
      try {
        const streams = AbortSignal.any([signal, left.signal]);
        for await (const { owner } of this.#client.watch({ name }, { signal: streams })) {
          const shown = owner === undefined ? 'free' : `${owner.holder} ${String(owner.fencingToken)}`;
          if (shown === last) continue;
          last = shown;
          yield owner === undefined
            ? undefined
            : Object.freeze({ holder: owner.holder, fencingToken: owner.fencingToken });
        }
      } catch {
        // Cut off or refused; either may change.
      } finally {
        left.abort();
      }
      await sleep(this.#clock, watchRetryMs, { signal }).catch(() => undefined);
    }
  }

  #options(signal: AbortSignal | undefined): { timeoutMs: number; signal?: AbortSignal } {
    return signal === undefined ? { timeoutMs: this.#timeoutMs } : { timeoutMs: this.#timeoutMs, signal };
  }

  async #call<T>(operation: string, name: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw failed(operation, name, error);
    }
  }
}

function failed(operation: string, name: string, cause: unknown): MeshError {
  const { rawMessage, message } = cause as { readonly rawMessage?: string; readonly message?: string };
  return new MeshError(
    'MESH_LEASE_FAILED',
    `could not ${operation} the lease ${name} of the controller: ${rawMessage ?? message ?? String(cause)}`,
    { cause, fields: { operation, lease: name } },
  );
}
