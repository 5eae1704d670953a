/**
 * Keeps the kernel's rules equal to the newest snapshot: finds the pods' interfaces, pins them, applies the plan, checks
 * for drift, and tries again after a failure. One run at a time; whatever changes during a run causes one more.
 */
import { describeError, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, Logger, Timer } from '../core/index.js';
import type { InterceptionPlan } from '../tproxy/index.js';
import type { MeshViews } from './inbound/inbound-path.js';
import { interceptionPlan } from './interception-plan.js';
import { resourceKey } from './mesh-index.js';
import type { HostInterface, SourcePins } from './outbound/source-pins.js';
import type { Workload } from './resources.js';

/** The part of `Interception` (`meshwright/tproxy`) that is used. */
export interface RuleApplier {
  apply(plan: InterceptionPlan): Promise<unknown>;
  verify(): Promise<{ readonly ok: boolean; readonly problems: readonly string[] }>;
}

export interface InterceptionReconcilerOptions {
  readonly views: MeshViews;
  readonly rules: RuleApplier;
  readonly pins: SourcePins;
  /** The host-side interface through which this address is reached; undefined when there is none. */
  readonly findInterface: (workload: Workload) => Promise<HostInterface | undefined>;
  /** How often the kernel's rules are compared with the plan. Default 10,000; 0 turns it off. */
  readonly verifyIntervalMs?: number | undefined;
  /** Wait after a failed run. Default 500. */
  readonly retryMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

export class InterceptionReconciler implements Closable {
  readonly #options: InterceptionReconcilerOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #subscription: Disposable;
  readonly #verifyIntervalMs: number;
  #running: Promise<void> | undefined;
  #again = false;
  #timer: Timer | undefined;
  #closed = false;
  #lastError: string | undefined;

  constructor(options: InterceptionReconcilerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#verifyIntervalMs = options.verifyIntervalMs ?? 10_000;
    this.#subscription = options.views.subscribe(() => void this.reconcile());
    this.#armVerify();
  }

  /** Why the kernel's rules may be behind the snapshot; undefined when they are not. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Brings the kernel's rules up to date; resolves when they are, or when the attempt failed (see `lastError`). */
  reconcile(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** An interface was removed or made anew: its workloads are refused as sources until a newer snapshot confirms them. */
  interfaceChanged(change: { readonly name: string; readonly index: number; readonly removed: boolean }): void {
    for (const workload of this.#options.pins.interfaceChanged(change)) {
      this.#logger.warn('workload unpinned', { workload, interface: change.name, removed: change.removed });
    }
  }

  async close(): Promise<void> {
    this.destroy();
    await this.#running;
  }

  destroy(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#subscription[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#applyOnce();
        this.#lastError = undefined;
      } catch (error) {
        this.#lastError = describeError(error);
        this.#logger.error('interception not up to date', { error: this.#lastError });
        this.#retryLater();
      }
    } while (this.#again && !this.#closed);
  }

  async #applyOnce(): Promise<void> {
    const { views, rules, pins, findInterface } = this.#options;
    const view = views.current;
    if (view === undefined) return;
    const found = new Map<Workload, HostInterface>();
    const interfaces = new Map<string, HostInterface>();
    for (const workload of view.index.localWorkloads) {
      const hostInterface = await findInterface(workload);
      if (hostInterface === undefined) {
        this.#logger.warn('workload has no interface on this node', { workload: resourceKey(workload) });
        continue;
      }
      found.set(workload, hostInterface);
      interfaces.set(resourceKey(workload), hostInterface);
    }
    await rules.apply(interceptionPlan(view.index, interfaces));
    // Only now: a source counts as pinned when the kernel drops what contradicts the pin.
    pins.replace(found);
  }

  #retryLater(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.timer(this.#options.retryMs ?? 500, () => {
      void this.reconcile();
      this.#armVerify();
    });
  }

  #armVerify(): void {
    this.#timer?.cancel();
    if (this.#verifyIntervalMs === 0 || this.#closed) return;
    this.#timer = this.#clock.timer(this.#verifyIntervalMs, () => void this.#verify());
  }

  async #verify(): Promise<void> {
    try {
      const { ok, problems } = await this.#options.rules.verify();
      if (!ok) {
        this.#logger.warn('interception drifted, applying again', { problems });
        await this.reconcile();
      }
    } catch (error) {
      this.#logger.warn('interception could not be verified', { error: describeError(error) });
    }
    this.#armVerify();
  }
}
