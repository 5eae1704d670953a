/** Runs stepwise work to its end, at once or in slices. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';

export interface SliceOptions {
  /** Ends the work early by rejecting with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Measures the slices. Default the system's. */
  readonly clock?: Clock | undefined;
}

/** Half of what is promised, so that one slow step still ends in time. */
const sliceMs = 2.5;

export function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** As `finish`, letting other work run after every few milliseconds. */
export async function finishInSlices<T>(
  steps: Generator<void, T>,
  { signal, clock = systemClock }: SliceOptions,
): Promise<T> {
  let sliceStart = clock.monotonicMs();
  for (;;) {
    signal?.throwIfAborted();
    const step = steps.next();
    if (step.done === true) return step.value;
    if (clock.monotonicMs() - sliceStart < sliceMs) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    sliceStart = clock.monotonicMs();
  }
}
