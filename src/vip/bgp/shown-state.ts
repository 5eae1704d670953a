import type { Clock } from '../../core/index.js';
import type { BgpFsmState } from './fsm/table.js';

const advance: readonly BgpFsmState[] = ['idle', 'active', 'connect', 'open-sent', 'open-confirm', 'established'];

/** Whether a connection in this state is open and has been spoken on. */
export function isLive(state: BgpFsmState): boolean {
  return advance.indexOf(state) >= advance.indexOf('open-sent');
}

/** The state of a peer as it is shown: that of its most advanced connection. */
export class ShownState {
  readonly #clock: Clock;
  #current: BgpFsmState = 'idle';
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  get current(): BgpFsmState {
    return this.#current;
  }

  /** Wall time in ms since when it is this one. */
  get since(): number {
    return this.#since;
  }

  /** Takes the states of all connections; returns the state shown before when another is shown from now. */
  update(states: readonly BgpFsmState[]): BgpFsmState | undefined {
    const from = this.#current;
    const to = states.reduce((best, state) => (advance.indexOf(state) > advance.indexOf(best) ? state : best));
    if (to === from) return undefined;
    this.#current = to;
    this.#since = this.#clock.now();
    return from;
  }
}
