/** Label values from outside this process: the first `limit` distinct ones are kept, later ones share one. */
export class BoundedLabel {
  readonly #seen = new Set<string>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The label for `value`; `unknown` without one, `other` when the limit is reached. */
  of(value: string | undefined): string {
    if (value === undefined || value === '') return 'unknown';
    if (this.#seen.has(value)) return value;
    if (this.#seen.size >= this.#limit) return 'other';
    this.#seen.add(value);
    return value;
  }
}

/** `2xx` to `5xx`, else `none`. */
export function statusClass(status: number | undefined): string {
  return status !== undefined && status >= 100 && status <= 599 ? `${String(Math.floor(status / 100))}xx` : 'none';
}
