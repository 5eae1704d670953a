import { Worker } from 'node:worker_threads';
import { describeError, systemRandom } from '../../core/index.js';
import type { Clock, Timer } from '../../core/index.js';
import { Backoff } from '../../internal/backoff.js';
import { nativeAddon } from '../../internal/native/addon.js';
import { VipError } from '../errors.js';
import { DescriptorLedger } from './descriptor-ledger.js';
import type { BfdCommand, BfdNotice } from './messages.js';
import type { WorkerSource } from './worker-location.js';

export interface WorkerThreadOptions {
  readonly source: WorkerSource;
  readonly clock: Clock;
  readonly onNotice: (notice: Exclude<BfdNotice, { type: 'ready' }>) => void;
  /** It ended unasked; it is started again. */
  readonly onFailed: (error: string) => void;
  /** It runs again, and knows of nothing. */
  readonly onRestarted: () => void;
}

/** After running for so long a failure is a new one, not the same again. */
const healthyAfterMs = 10_000;

/** The BFD thread, started again whenever it ends unasked. */
export class WorkerThread {
  readonly #options: WorkerThreadOptions;
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 5000 }, systemRandom);
  #worker: Worker | undefined;
  #isReady = false;
  #exited: Promise<void> = Promise.resolve();
  #restart: Timer | undefined;
  #healthy: Timer | undefined;
  #ending = false;

  private constructor(options: WorkerThreadOptions) {
    this.#options = options;
  }

  /** Resolves when it runs. Throws `VIP_BFD_WORKER_FAILED`. */
  static async start(options: WorkerThreadOptions): Promise<WorkerThread> {
    const thread = new WorkerThread(options);
    try {
      await thread.#launch();
    } catch (cause) {
      throw new VipError('VIP_BFD_WORKER_FAILED', `the BFD thread did not start: ${describeError(cause)}`, { cause });
    }
    return thread;
  }

  /** Undefined while none is ready. */
  get threadId(): number | undefined {
    return this.#isReady ? this.#worker?.threadId : undefined;
  }

  /** Lost while no thread runs: `onRestarted` says when to tell everything again. */
  tell(command: BfdCommand): void {
    if (this.#isReady) this.#worker?.postMessage(command);
  }

  /** Ends it in order. */
  async end(): Promise<void> {
    this.#stopSupervising();
    // One that is only just starting would not hear it.
    if (this.#isReady) this.tell({ type: 'end' });
    else void this.#worker?.terminate();
    await this.#exited;
  }

  /** Ends it now. */
  destroy(): void {
    this.#stopSupervising();
    void this.#worker?.terminate();
  }

  #stopSupervising(): void {
    this.#ending = true;
    this.#restart?.cancel();
    this.#healthy?.cancel();
  }

  /** Resolves when it runs; rejects when it ended before. */
  #launch(): Promise<void> {
    const { source, clock } = this.#options;
    // No flags of this process: a debugger's port or a loader is not for this thread.
    const ledger = new DescriptorLedger();
    const common = { name: 'meshwright-bfd', execArgv: [], argv: [], workerData: ledger.buffer };
    const worker =
      'file' in source ? new Worker(source.file, common) : new Worker(source.code, { ...common, eval: true });
    this.#worker = worker;
    this.#exited = new Promise((resolve) => worker.once('exit', () => resolve()));
    return new Promise((resolve, reject) => {
      let failure: unknown;
      worker.on('error', (error: unknown) => (failure = error));
      worker.on('message', (notice: BfdNotice) => {
        if (notice.type !== 'ready') {
          this.#options.onNotice(notice);
          return;
        }
        this.#isReady = true;
        this.#healthy = clock.timer(healthyAfterMs, () => this.#backoff.reset());
        resolve();
      });
      worker.once('exit', (status) => {
        this.#worker = undefined;
        this.#healthy?.cancel();
        ledger.closeAll(nativeAddon('BFD'));
        const error = failure ?? new Error(`it ended with status ${String(status)}`);
        const wasReady = this.#isReady;
        this.#isReady = false;
        if (wasReady) this.#restartAfter(error);
        else reject(error);
      });
    });
  }

  #restartAfter(error: unknown): void {
    if (this.#ending) return;
    this.#options.onFailed(describeError(error));
    const restart = (): void => {
      this.#launch().then(
        () => this.#options.onRestarted(),
        (again: unknown) => this.#restartAfter(again),
      );
    };
    this.#restart = this.#options.clock.timer(this.#backoff.nextMs(), restart, { keepAlive: true });
  }
}
