import { MeshwrightError, defineErrorCodes } from '../core/index.js';
import type { MeshwrightErrorOptions } from '../core/index.js';
import { formatProblem } from './problem.js';
import type { PolicyProblem } from './problem.js';

/** The codes thrown by `meshwright/authz`. A request never throws: what cannot be judged is denied with a reason. */
export const authzErrorCodes = defineErrorCodes({
  AUTHZ_COMPILE_FAILED: {
    when: 'One or more policies are malformed; `problems` of the error lists every one of them.',
    fix: 'Correct each problem: it names the file, the field, what was expected and the fix. The engine in force stays in force.',
  },
  AUTHZ_TEST_MALFORMED: {
    when: 'A policy test file does not parse; the message names the field.',
    fix: 'Correct the field; docs/authz.md describes the format.',
  },
  AUTHZ_POLICY_INCOMPLETE: {
    when: 'A policy written with the builder has no target, or does not say whom it is about.',
    fix: 'Call `to(service(namespace, name))` on it; for everybody write `allow(anyone())`.',
  },
  AUTHZ_POLICY_CONFLICT: {
    when: 'A policy written with the builder says two things of which only one can hold, such as two lists of ports for one operation.',
    fix: 'Write the one that is meant; alternatives are sources or operations of their own.',
  },
  AUTHZ_OPTION_INVALID: {
    when: 'An option of the engine is of the wrong type or out of its bounds.',
    fix: 'Correct the named option; its docstring gives the values it takes.',
  },
});

export type AuthzErrorCode = keyof typeof authzErrorCodes;

export class AuthzError extends MeshwrightError<AuthzErrorCode> {}

/** Thrown by `AuthzEngine.compile` with every problem at once; code `AUTHZ_COMPILE_FAILED`. */
export class AuthzCompileError extends AuthzError {
  /** Every problem found, in the order of the manifests. */
  readonly problems: readonly PolicyProblem[];

  constructor(problems: readonly PolicyProblem[], options: MeshwrightErrorOptions = {}) {
    const shown = problems.slice(0, 5).map(formatProblem).join('; ');
    const more = problems.length > 5 ? `; and ${String(problems.length - 5)} more` : '';
    super('AUTHZ_COMPILE_FAILED', `expected well-formed policies, but ${shown}${more}`, {
      ...options,
      fields: { ...options.fields, problems },
    });
    this.problems = problems;
  }
}
