/**
 * Keeps the kernel's rules equal to the newest snapshot: finds the pods' interfaces, pins them, applies the plan, checks
 * for drift, and tries again after a failure. One run at a time; whatever changes during a run causes one more.
 */
import { LatestValueCell, describeError, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, Logger, Timer } from '../core/index.js';
import type { InterceptionPlan } from '../tproxy/index.js';
import type { MeshViews } from './mesh-views.js';
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
  /** Interface changes since the newest view came, by name and by index; the number tells their order. */
  readonly #changedNames = new Map<string, number>();
  readonly #changedIndexes = new Map<number, number>();
  #changes = 0;
  /** How many changes there had been when the newest view came. */
  #changesAtView = 0;
  readonly #applied = new LatestValueCell(0);
  #running: Promise<void> | undefined;
  #again = false;
  #verifyTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #closed = false;
  #lastError: string | undefined;

  constructor(options: InterceptionReconcilerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#verifyIntervalMs = options.verifyIntervalMs ?? 10_000;
    this.#subscription = options.views.subscribe(() => {
      this.#changesAtView = this.#changes;
      void this.reconcile();
    });
    this.#armVerify();
  }

  /** Why the kernel's rules may be behind the snapshot; undefined when they are not. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Resolves when the kernel's rules have been those of a snapshot for the first time; rejects with the signal's reason. */
  async applied(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    for await (const count of this.#applied.changes(options)) if (count > 0) return;
    options.signal?.throwIfAborted();
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
    this.#changes += 1;
    this.#changedNames.set(change.name, this.#changes);
    this.#changedIndexes.set(change.index, this.#changes);
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
    this.#verifyTimer?.cancel();
    this.#retryTimer?.cancel();
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
    const { views, rules, pins } = this.#options;
    const view = views.current;
    if (view === undefined) return;
    const since = this.#changesAtView;
    this.#forgetChangesUntil(since);
    const found = new Map<Workload, HostInterface>();
    const interfaces = new Map<string, HostInterface>();
    for (const workload of view.index.localWorkloads) {
      const hostInterface = await this.#find(workload);
      if (hostInterface === undefined) {
        this.#logger.warn('workload has no interface on this node', { workload: resourceKey(workload) });
        continue;
      }
      found.set(workload, hostInterface);
      interfaces.set(resourceKey(workload), hostInterface);
    }
    if (this.#closed) return;
    // Captured whether or not it is confirmed: an unconfirmed source must come to the agent to be refused.
    await rules.apply(interceptionPlan(view.index, interfaces));
    // Only now: a source counts as pinned when the kernel drops what contradicts the pin. And only what the view can
    // know of: an interface that went, came or changed after the view may be another pod's with the old one's address.
    for (const [workload, { name, index }] of found) {
      const changed = Math.max(this.#changedNames.get(name) ?? 0, this.#changedIndexes.get(index) ?? 0);
      if (changed <= since) continue;
      found.delete(workload);
      this.#logger.warn('workload not pinned: its interface changed after the snapshot', {
        workload: resourceKey(workload),
        interface: name,
      });
    }
    pins.replace(found);
    this.#applied.set(this.#applied.current + 1);
  }

  async #find(workload: Workload): Promise<HostInterface | undefined> {
    try {
      return await this.#options.findInterface(workload);
    } catch (error) {
      // One pod that is going away must not keep the rules of all others behind.
      this.#logger.warn('interface not found', { workload: resourceKey(workload), error: describeError(error) });
      return undefined;
    }
  }

  #forgetChangesUntil(last: number): void {
    for (const [name, change] of this.#changedNames) if (change <= last) this.#changedNames.delete(name);
    for (const [index, change] of this.#changedIndexes) if (change <= last) this.#changedIndexes.delete(index);
  }

  #retryLater(): void {
    this.#retryTimer?.cancel();
    if (this.#closed) return;
    this.#retryTimer = this.#clock.timer(this.#options.retryMs ?? 500, () => void this.reconcile());
  }

  #armVerify(): void {
    this.#verifyTimer?.cancel();
    if (this.#verifyIntervalMs === 0 || this.#closed) return;
    this.#verifyTimer = this.#clock.timer(this.#verifyIntervalMs, () => void this.#verify());
  }

  async #verify(): Promise<void> {
    try {
      const { ok, problems } = await this.#options.rules.verify();
      if (!ok && !this.#closed) {
        this.#logger.warn('interception drifted, applying again', { problems });
        await this.reconcile();
      }
    } catch (error) {
      this.#logger.warn('interception could not be verified', { error: describeError(error) });
    }
    this.#armVerify();
  }
}
