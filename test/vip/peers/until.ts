import { setTimeout as delay } from 'node:timers/promises';

export interface UntilOptions {
  /** Default 15,000. */
  readonly timeoutMs?: number | undefined;
  /** Between two looks. Default 100. */
  readonly everyMs?: number | undefined;
  /** Says what was seen last, for the error. */
  readonly seen?: (() => unknown) | undefined;
}

/** Looks again and again until `look` gives something that is neither false nor undefined; what it throws counts as not yet. */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<Exclude<T, false | undefined>> {
  const timeoutMs = options.timeoutMs ?? 15_000;
  const endMs = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs) {
      const seen = options.seen === undefined ? '' : shown(await options.seen());
      throw new Error(`not within ${String(timeoutMs)} ms: ${what}; last: ${shown(last)} ${seen}`);
    }
    await delay(options.everyMs ?? 100);
  }
}

function shown(value: unknown): string {
  if (value instanceof Error || typeof value === 'string') return String(value);
  return JSON.stringify(value) ?? String(value);
}
