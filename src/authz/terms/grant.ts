import type { Facts } from '../facts.js';
import type { Grant } from '../grant.js';
import { no, yes } from '../tri.js';
import type { TermValue } from '../tri.js';
import { Term } from './term.js';

/**
 * Holds until a grant ends. A condition of every rule of the policy, so that policies without an end pay nothing for it.
 * It names no values: there are none that a test could exercise.
 */
export class GrantTerm extends Term {
  readonly #grant: Grant;
  /** Where the policy says it. */
  readonly path: string;

  constructor(grant: Grant, path: string) {
    super('notAfter', [], false);
    this.#grant = grant;
    this.path = path;
  }

  protected override holds(facts: Facts): TermValue {
    return facts.nowMs() < this.#grant.notAfterMs ? yes : no;
  }

  /** What an explanation says was wanted. */
  get wanted(): readonly string[] {
    const { notAfter, owner } = this.#grant;
    return [`a time before ${notAfter} (the grant of ${owner} ended)`];
  }

  override actual(facts: Facts): string {
    return new Date(facts.nowMs()).toISOString();
  }

  protected override single(): Term | undefined {
    return undefined;
  }
}
