/** One condition of a rule on one attribute of the request. */
import type { Facts } from './facts.js';
import type { Tri } from './tri.js';

export interface Term {
  /** The field as the policy writes it, such as `paths` or `notPrincipals`. */
  readonly field: string;
  /** Where it is written, such as `spec.rules[0].to[0].paths`. */
  readonly path: string;
  /** The values as written. */
  readonly values: readonly string[];
  /** Whether only an HTTP request can satisfy it. */
  readonly http: boolean;
  test(facts: Facts): Tri;
  /** What the request has in this place, for explanations; undefined when it has nothing. */
  actual(facts: Facts): string | undefined;
}
