/** Terms about the validated JSON Web Token; it comes with the HTTP request, so an opaque stream has none. */
import type { Facts } from '../facts.js';
import { StringMatcher } from '../string-match.js';
import { needsHttp, no, unknown, yes } from '../tri.js';
import type { TermValue } from '../tri.js';
import { HttpTerm } from './term.js';
import type { Term } from './term.js';

/** `iss/sub`; a pattern is cut at its last slash and its wildcards are those of each part. */
export class RequestPrincipalsTerm extends HttpTerm {
  readonly #patterns: readonly { readonly issuer: StringMatcher; readonly subject: StringMatcher }[];

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#patterns = values.map((value) => {
      const slash = value.lastIndexOf('/');
      // `*` and other patterns without a slash: a star reaches over both parts, anything else can't hold.
      if (slash < 0) {
        return value.startsWith('*')
          ? { issuer: new StringMatcher(['*']), subject: new StringMatcher([value]) }
          : { issuer: new StringMatcher([value]), subject: new StringMatcher(value.endsWith('*') ? ['*'] : []) };
      }
      return {
        issuer: new StringMatcher([value.slice(0, slash)]),
        subject: new StringMatcher([value.slice(slash + 1)]),
      };
    });
  }

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    const by = facts.tokenPart('iss');
    const about = facts.tokenPart('sub');
    if (by === undefined || about === undefined) return no;
    for (const { issuer, subject } of this.#patterns) if (issuer.test(by) && subject.test(about)) return yes;
    return no;
  }

  override actual(facts: Facts): string | undefined {
    const issuer = facts.tokenPart('iss');
    const subject = facts.tokenPart('sub');
    return issuer === undefined || subject === undefined ? undefined : `${issuer}/${subject}`;
  }

  protected override single(value: string): Term {
    return new RequestPrincipalsTerm(this.field, [value], false);
  }
}

/** A claim, by its path; any element of a list will do. */
export class ClaimTerm extends HttpTerm {
  readonly #claim: readonly string[];
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean, claim: readonly string[]) {
    super(field, values, negated);
    this.#claim = claim;
    this.#matcher = new StringMatcher(values);
  }

  protected override holds(facts: Facts): TermValue {
    if (facts.http === undefined) return needsHttp;
    return facts.claimMatches(this.#claim, this.#matcher) ? yes : no;
  }

  override actual(facts: Facts): string | undefined {
    const values = facts.claim(this.#claim);
    return values.length === 0 ? undefined : values.join(',');
  }

  protected override single(value: string): Term {
    return new ClaimTerm(this.field, [value], false, this.#claim);
  }
}

/** A condition on something this engine is never told, such as Envoy filter metadata: always open, so it fails closed. */
export class UntoldTerm extends HttpTerm {
  protected override holds(facts: Facts): TermValue {
    return facts.http === undefined ? needsHttp : unknown;
  }

  override actual(): string | undefined {
    return undefined;
  }

  protected override single(): Term | undefined {
    return undefined;
  }
}
