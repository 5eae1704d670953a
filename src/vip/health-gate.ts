import { LatestValueCell, describeError } from '../core/index.js';
import type { Clock, LatestValue, Logger, Timer } from '../core/index.js';

export type VipHealth = (() => boolean) | LatestValue<boolean>;

const pollEveryMs = 200;

/** Whether this node may announce anything. A function is asked every 200 ms; what it throws means no. */
export class HealthGate {
  readonly #cell: LatestValueCell<boolean>;
  readonly #stop: () => void;

  constructor(health: VipHealth | undefined, clock: Clock, logger: Logger) {
    if (health === undefined) {
      this.#cell = new LatestValueCell(true);
      this.#stop = () => undefined;
    } else if (typeof health === 'function') {
      const ask = (): boolean => {
        try {
          return health();
        } catch (error) {
          logger.error('the health check of virtual IPs failed', { error: describeError(error) });
          return false;
        }
      };
      this.#cell = new LatestValueCell(ask());
      let timer: Timer;
      const poll = (): void => {
        this.#set(ask());
        timer = clock.timer(pollEveryMs, poll);
      };
      timer = clock.timer(pollEveryMs, poll);
      this.#stop = () => timer.cancel();
    } else {
      this.#cell = new LatestValueCell(health.current);
      const subscription = health.subscribe((healthy) => this.#set(healthy));
      this.#stop = () => subscription[Symbol.dispose]();
    }
  }

  get healthy(): LatestValue<boolean> {
    return this.#cell;
  }

  close(): void {
    this.#stop();
  }

  #set(healthy: boolean): void {
    if (healthy !== this.#cell.current) this.#cell.set(healthy);
  }
}
