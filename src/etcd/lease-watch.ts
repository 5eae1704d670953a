import { sleep } from '../core/index.js';
import { Backoff } from '../internal/backoff.js';
import type { EtcdClient } from './etcd-client.js';
import type { LeaseKeys } from './lease-records.js';
import type { LeaseView } from './lease-view.js';
import type { ResolvedEtcdOptions } from './options.js';
import { afterPrefix } from './requests.js';

const deleted = 1;

/** Keeps the view current by one watch over all keys of the store, for as long as it runs, through failures of any kind. */
export class LeaseWatch {
  readonly #client: EtcdClient;
  readonly #view: LeaseView;
  readonly #keys: LeaseKeys;
  readonly #options: ResolvedEtcdOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #loaded: () => void = () => undefined;
  /** Settles when everything was read once. */
  readonly loaded = new Promise<void>((resolve) => {
    this.#loaded = resolve;
  });

  constructor(client: EtcdClient, view: LeaseView, keys: LeaseKeys, options: ResolvedEtcdOptions) {
    this.#client = client;
    this.#view = view;
    this.#keys = keys;
    this.#options = options;
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { clock, random } = this.#options;
    const backoff = new Backoff({ firstMs: 50, maxMs: 1_000 }, random);
    while (!signal.aborted) {
      try {
        await this.#follow(() => backoff.reset());
      } catch {
        // The connection went, the member lost its leader, or the revision was compacted away: read everything anew.
      }
      await sleep(clock, backoff.nextMs(), { signal }).catch(() => undefined);
    }
  }

  /** Reads everything, then every change after it, until something fails. */
  async #follow(onAlive: () => void): Promise<void> {
    const { signal } = this.#stop;
    const key = this.#keys.prefix;
    const rangeEnd = afterPrefix(key);
    const { kvs, header } = await this.#client.range(key, rangeEnd, signal);
    const revision = header?.revision ?? 0n;
    this.#view.sawAll(kvs, revision);
    this.#loaded();
    for await (const response of this.#client.watch({ key, rangeEnd, startRevision: revision + 1n }, signal)) {
      if (response.canceled) return;
      onAlive();
      for (const { type, kv } of response.events) {
        if (kv === undefined) continue;
        if (type === deleted) this.#view.sawNothing(kv.key, kv.modRevision);
        else this.#view.saw(kv);
      }
    }
  }
}
