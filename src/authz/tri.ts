/**
 * The value of one term for one request.
 *
 * - `needsHttp`: only an HTTP request could tell, and there is none (or none yet);
 * - `unknown`: the request leaves it open for good: an ambiguous path, an address that does not parse, a node that is not known.
 *
 * Terms say what they know; `Facts` says what the two open values are worth while a DENY or an ALLOW is judged.
 */
export const no = 0;
export const yes = 1;
export const needsHttp = 2;
export const unknown = 3;

/** What a rule is worth. */
export type Tri = typeof no | typeof yes | typeof needsHttp;
/** What a term is worth by itself. */
export type TermValue = Tri | typeof unknown;
