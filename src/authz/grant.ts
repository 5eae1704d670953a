/** Grants that end by themselves: an ALLOW with `notAfter`, who answers for it and why it exists. */

export interface Grant {
  /** The instant at which it ends, in ms since the Unix epoch: from then on its rules match nothing. */
  readonly notAfterMs: number;
  /** The same as the policy writes it. */
  readonly notAfter: string;
  readonly owner: string;
  readonly reason: string;
}

/** A grant as an engine reports it. */
export interface GrantState extends Grant {
  /** `namespace/name` of its policy. */
  readonly policy: string;
  readonly ended: boolean;
}

const form = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,3})?(?:Z|([+-])(\d{2}):(\d{2}))$/;

/**
 * An instant with its offset from UTC (RFC 3339 section 5.6, upper case, at most milliseconds) in ms since the Unix
 * epoch; undefined for anything else, also for days that no calendar has.
 */
export function parseInstant(text: string): number | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, , offsetHours = '0', offsetMinutes = '0'] = match;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  if (Number(offsetHours) > 23 || Number(offsetMinutes) > 59) return undefined;
  // A day beyond the end of its month would be taken for one of the next.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day)) return undefined;
  const instantMs = Date.parse(text);
  return Number.isNaN(instantMs) ? undefined : instantMs;
}
