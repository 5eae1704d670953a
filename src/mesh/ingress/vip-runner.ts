/** Keeps a node's virtual IPs at what its snapshots say and its ingress can serve. */
import { describeError, silentLogger, sleep, systemClock } from '../../core/index.js';
import type { Clock, Closable, LatestValue, Logger } from '../../core/index.js';
import type { VipAssignment, VipManager } from '../../vip/index.js';
import type { MeshViews } from '../mesh-views.js';
import type { MeshVip } from '../vip-resources.js';
import type { VipReport } from '../vip-tables.js';
import { vipPlan } from './vip-plan.js';
import type { VipBgpSettings } from './vip-plan.js';

/** What is needed of a `VipManager`. */
export type RunningVips = Pick<VipManager, 'apply' | 'configureBgp' | 'close' | 'destroy' | 'state' | 'peers'>;

export interface VipRunnerOptions {
  readonly node: string;
  readonly views: MeshViews;
  /** `VipIngress.serving`. */
  readonly serving: LatestValue<readonly MeshVip[]>;
  /** Starts the manager, `VipManager.create`: as soon as there are virtual IPs at all. */
  readonly start: () => Promise<RunningVips>;
  readonly bgp?: VipBgpSettings | undefined;
  /** After a failure. Default 5 000 ms. */
  readonly retryMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * Follows views and readiness, one step at a time, always towards the newest. A manager that cannot be started (a missing
 * capability, say) is logged and tried again; meanwhile nothing is announced.
 */
export class VipRunner implements Closable {
  readonly #options: VipRunnerOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stopped = new AbortController();
  readonly #subscriptions: readonly Disposable[];
  #running: RunningVips | undefined;
  #applied: readonly VipAssignment[] = [];
  #dirty = false;
  #working: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: VipRunnerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    const wake = (): void => this.#wake();
    this.#subscriptions = [options.views.subscribe(wake), options.serving.subscribe(wake)];
    wake();
  }

  /** Plain data, for `mesh vips`. */
  report(): VipReport {
    return { addresses: this.#running?.state ?? [], peers: this.#running?.peers.current ?? [] };
  }

  /** Withdraws everything in order: others take over before the addresses go. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  destroy(reason?: Error): void {
    void this.close();
    this.#running?.destroy(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #end(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]();
    this.#stopped.abort(new Error('the virtual IPs are being withdrawn'));
    await this.#working;
    await this.#running?.close();
  }

  #wake(): void {
    this.#dirty = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    const { retryMs = 5_000 } = this.#options;
    const { signal } = this.#stopped;
    while (this.#dirty && !signal.aborted) {
      this.#dirty = false;
      try {
        await this.#step();
      } catch (error) {
        this.#dirty = true;
        this.#logger.error('virtual IPs are not as they should be; tried again', { error: describeError(error) });
        await sleep(this.#clock, retryMs, { signal }).catch(() => undefined);
      }
    }
  }

  async #step(): Promise<void> {
    const { node, views, serving, start, bgp } = this.#options;
    const plan = vipPlan(node, { known: views.current?.index.state.vips ?? [], serving: serving.current, bgp });
    if (this.#running === undefined) {
      if (plan.assignments.length === 0 && plan.bgp === undefined) return;
      this.#running = await start();
    }
    // What is no longer served goes first, in order, over the sessions that told of it; what is new needs its session.
    const staying = stayingOf(this.#applied, plan.assignments);
    if (staying !== undefined) {
      await this.#running.apply(staying);
      this.#applied = staying;
    }
    await this.#running.configureBgp(plan.bgp);
    await this.#running.apply(plan.assignments);
    this.#applied = plan.assignments;
  }
}

/** What is assigned, as it is, without the addresses that are not wanted any more; undefined where all are. */
function stayingOf(
  applied: readonly VipAssignment[],
  wanted: readonly VipAssignment[],
): readonly VipAssignment[] | undefined {
  const modes = new Map(wanted.flatMap(({ addresses, mode }) => addresses.map((ip) => [ip, mode] as const)));
  const stays = ({ mode }: VipAssignment, ip: string): boolean => modes.get(ip) === mode;
  if (applied.every((each) => each.addresses.every((ip) => stays(each, ip)))) return undefined;
  return applied
    .map((each) => ({ ...each, addresses: each.addresses.filter((ip) => stays(each, ip)) }))
    .filter(({ addresses }) => addresses.length > 0);
}
