/** One condition of a rule on one attribute of the request. */
import type { Dimension, Key } from '../dimension.js';
import type { Facts } from '../facts.js';
import { no, yes } from '../tri.js';
import type { TermValue } from '../tri.js';

let terms = 0;

export abstract class Term {
  /** Tells terms apart: no two have the same. */
  readonly id: number;
  /** The field as the policy writes it, such as `paths` or `notPrincipals`, or the key of a `when`. */
  readonly field: string;
  /** The values as written. */
  readonly values: readonly string[];
  /** A not-form: holds when none of the values does. */
  readonly negated: boolean;

  constructor(field: string, values: readonly string[], negated: boolean) {
    terms += 1;
    this.id = terms;
    this.field = field;
    this.values = values;
    this.negated = negated;
  }

  /** Whether only an HTTP request can satisfy it. */
  get http(): boolean {
    return false;
  }

  /** What it is worth. Absent attributes fail the plain form and pass the not-form; what is open stays open in both. */
  test(facts: Facts): TermValue {
    const value = this.holds(facts);
    if (!this.negated) return value;
    return value === no ? yes : value === yes ? no : value;
  }

  /** Whether any of the values matches. */
  protected abstract holds(facts: Facts): TermValue;

  /** What the request has in this place, for explanations; undefined when it has nothing. */
  abstract actual(facts: Facts): string | undefined;

  /** Every key that a request must have one of; undefined when there is no such list. Never asked of a not-form. */
  keys(_dimension: Dimension): readonly Key[] | undefined {
    return undefined;
  }

  /** Which of the values matched, by index; for coverage. Undefined when it can't be told. */
  matchedValues(facts: Facts): readonly number[] {
    return this.values.flatMap((value, index) => (this.single(value)?.holds(facts) === yes ? [index] : []));
  }

  /** The same term with one value only; undefined when it has no values. */
  protected abstract single(value: string): Term | undefined;
}

/** A term that needs an HTTP request. */
export abstract class HttpTerm extends Term {
  override get http(): boolean {
    return true;
  }
}
