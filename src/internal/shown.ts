/** What arrived, for an error message: quoted, control characters escaped, bounded. */
export function shown(value: unknown): string {
  if (typeof value !== 'string') return value === null ? 'null' : `a value of type ${typeof value}`;
  return JSON.stringify(value.length > 120 ? `${value.slice(0, 120)}…` : value);
}
