import type { Lease } from '../core/index.js';
import type { EtcdClient } from './etcd-client.js';
import { decodeLease, encodeOffer } from './lease-records.js';
import type { LeaseKeys } from './lease-records.js';
import type { Candidacy } from './lease-session.js';
import type { LeaseView } from './lease-view.js';
import { found, get, madeIn, put, remove, unchangedSince } from './requests.js';

/**
 * Leases that go from one owner to the next in one transaction: the owner offers, the first who stands by answers (and renews
 * its session with that answer, so that what it is handed is fresh), the owner's release writes the answer into the lease.
 * Anything that comes in between (no answer, another writer, a watch that is cut off) leads back to release and acquire.
 */
export class LeaseHandovers {
  readonly #client: EtcdClient;
  readonly #keys: LeaseKeys;
  readonly #view: LeaseView;
  /** Revisions of our offers, by fencing token. */
  readonly #offered = new Map<bigint, bigint>();

  constructor(client: EtcdClient, keys: LeaseKeys, view: LeaseView) {
    this.#client = client;
    this.#keys = keys;
    this.#view = view;
  }

  /** Resolves with true when somebody is to have the lease; with false when it is not ours. */
  async offer({ name, fencingToken }: Lease, signal: AbortSignal): Promise<boolean> {
    const offerKey = this.#keys.of('offer', name);
    const { succeeded, header } = await this.#client.txn(
      {
        compare: [unchangedSince(this.#keys.of('lease', name), fencingToken)],
        success: [put(offerKey, encodeOffer({ fencingToken })), remove(this.#keys.of('successor', name))],
      },
      signal,
    );
    if (!succeeded) return false;
    this.#offered.set(fencingToken, header?.revision ?? 0n);
    await this.#view.handovers.until(name, () => this.#successor(name, fencingToken), signal);
    return true;
  }

  /** Gives the lease to who answered our offer of it, or else to nobody. */
  async release({ name, fencingToken }: Lease, signal: AbortSignal | undefined): Promise<void> {
    const key = this.#keys.of('lease', name);
    const successorKey = this.#keys.of('successor', name);
    const isOurs = unchangedSince(key, fencingToken);
    const successor = this.#successor(name, fencingToken);
    const clearing = this.#offered.delete(fencingToken)
      ? [remove(this.#keys.of('offer', name)), remove(successorKey)]
      : [];
    if (successor !== undefined) {
      const compare = [isOurs, unchangedSince(successorKey, successor.revision)];
      const { succeeded } = await this.#client.txn(
        { compare, success: [put(key, successor.value), ...clearing] },
        signal,
      );
      if (succeeded) return;
    }
    const { succeeded, header } = await this.#client.txn(
      { compare: [isOurs], success: [remove(key), ...clearing] },
      signal,
    );
    if (succeeded) this.#view.sawNothing(key, header?.revision ?? 0n);
  }

  /** Resolves when the lease was handed to us: by which of our candidacies, and in which revision. */
  async standBy(
    name: string,
    candidacy: () => Candidacy,
    { signal, onSend }: { readonly signal: AbortSignal; readonly onSend?: (() => void) | undefined },
  ): Promise<Candidacy & { readonly revision: bigint }> {
    const { handovers } = this.#view;
    let answered = -1n;
    for (;;) {
      const offer = await handovers.until(name, () => this.#offerAfter(name, answered), signal);
      answered = offer.revision;
      const mine = candidacy();
      try {
        if (!(await this.#answer(name, offer.revision, mine, signal, onSend))) continue;
        const seen = await handovers.until(
          name,
          () => {
            const lease = this.#view.lease(name);
            if (lease !== undefined && lease.revision > offer.fencingToken) return lease;
            return handovers.offer(name)?.revision === offer.revision ? undefined : 'withdrawn';
          },
          signal,
        );
        if (seen !== 'withdrawn' && seen.record?.nonce === decodeLease(mine.value)?.nonce) {
          return { ...mine, revision: seen.revision };
        }
      } catch (error) {
        // The lease may come to us when we no longer look.
        mine.session.leaveBehind({ key: this.#keys.of('lease', name), value: mine.value });
        throw error;
      }
    }
  }

  /** One that is for the lease as it is now, and that we have not answered. */
  #offerAfter(name: string, answered: bigint): { revision: bigint; fencingToken: bigint } | undefined {
    const offer = this.#view.handovers.offer(name);
    if (offer === undefined || offer.revision <= answered) return undefined;
    return this.#view.lease(name)?.revision === offer.fencingToken ? offer : undefined;
  }

  /** False when somebody else was faster. True also when nobody knows: the lease shows it. */
  async #answer(
    name: string,
    offerRevision: bigint,
    { session, value }: Candidacy,
    signal: AbortSignal,
    onSend: (() => void) | undefined,
  ): Promise<boolean> {
    const key = this.#keys.of('successor', name);
    try {
      return await session.run(async () => {
        onSend?.();
        const { succeeded, header, responses } = await this.#client.txn(
          {
            compare: [
              unchangedSince(this.#keys.of('offer', name), offerRevision),
              unchangedSince(key, 0n),
              madeIn(session.key, session.madeIn),
            ],
            success: [put(key, value), put(session.key, session.value)],
            failure: [get(session.key)],
          },
          signal,
        );
        if (succeeded) session.markMade(header?.revision ?? 0n);
        else if ((found(responses, 0)?.createRevision ?? 0n) !== session.madeIn) session.markLost();
        return succeeded;
      });
    } catch (error) {
      if (signal.aborted) throw error;
      return true;
    }
  }

  /** Who answered our offer, as a record that a store wrote. */
  #successor(name: string, fencingToken: bigint): { value: Uint8Array; revision: bigint } | undefined {
    const offeredIn = this.#offered.get(fencingToken);
    const successor = this.#view.handovers.successor(name);
    if (offeredIn === undefined || successor === undefined || successor.revision <= offeredIn) return undefined;
    return decodeLease(successor.value) === undefined ? undefined : successor;
  }
}
