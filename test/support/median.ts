/** The middle one of measurements: a machine with other work pauses somebody now and then, and one slow round says nothing. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Infinity;
}
