/**
 * The one base class of every error this package throws on purpose.
 *
 * Match on `code`, never on the message or on `instanceof` alone: `isMeshwrightError` also holds across two copies of
 * the package. Each module lists its codes in a table made by `defineErrorCodes` (its `errors.ts`); docs/errors.md is
 * generated from these tables and a test compares the two.
 */

const brand: unique symbol = Symbol.for('meshwright.error') as never;

/** What a code means and what an operator does about it: one row of docs/errors.md. */
export interface ErrorCodeInfo {
  /** When it is thrown, as a sentence. */
  readonly when: string;
  /** What the operator or caller can do. */
  readonly fix: string;
}

/** Declares a module's codes. Returns its argument frozen, with literal keys kept for the type of the error class. */
export function defineErrorCodes<const T extends Record<string, ErrorCodeInfo>>(table: T): Readonly<T> {
  return Object.freeze(table);
}

export interface MeshwrightErrorOptions {
  /** The error that led to this one; kept as `cause`. */
  readonly cause?: unknown;
  /** Structured facts for logs and programs. Never put key, token or password material here. */
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
}

/** Base class. The message says what was expected, what arrived, and what the operator can do. */
export abstract class MeshwrightError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: Code, message: string, options: MeshwrightErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.fields = Object.freeze({ ...options.fields });
    Object.defineProperty(this, brand, { value: true });
  }
}

/** True for errors of this package, optionally of one `code`; works across duplicate copies of the package. */
export function isMeshwrightError(value: unknown, code?: string): value is MeshwrightError {
  if (!(value instanceof Error) || (value as { [brand]?: unknown })[brand] !== true) return false;
  return code === undefined || (value as MeshwrightError).code === code;
}

/** The codes thrown by `core` itself. */
export const coreErrorCodes = defineErrorCodes({
  CORE_ADDRESS_MALFORMED: {
    when: 'An IP address, CIDR block, port or socket address does not parse.',
    fix: 'Write IPv4 as 10.0.0.1, IPv6 as fd00::1 (in brackets before a port), a block as 10.0.0.0/8, a port as 1 to 65535.',
  },
  CORE_OPTION_INVALID: {
    when: 'An option is missing, of the wrong type, or out of its documented bounds.',
    fix: 'Correct the named option; its docstring gives the type, the default and the bounds.',
  },
  CORE_CLOSED: {
    when: 'Something was used after it had been closed or destroyed.',
    fix: 'Make a new one; a closed object stays closed.',
  },
});

export type CoreErrorCode = keyof typeof coreErrorCodes;

export class CoreError extends MeshwrightError<CoreErrorCode> {}

/** The message of anything that was thrown, with the messages of its causes; bounded, so a cyclic cause chain is harmless. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth += 1) {
    if (!(current instanceof Error)) {
      parts.push(String(current));
      break;
    }
    parts.push(current.message || current.name);
    current = current.cause;
  }
  return parts.join(': ');
}
