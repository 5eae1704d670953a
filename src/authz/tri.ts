/**
 * The value of a term: it holds, it does not, or only an HTTP request could tell. What can never be told of a request
 * (an ambiguous path, an unknown node) is no third value: it counts as matched in a DENY and as not matched in an ALLOW,
 * which is what `Facts.undecided` says while the one or the other is evaluated.
 */
export const no = 0;
export const yes = 1;
export const needsHttp = 2;
export type Tri = typeof no | typeof yes | typeof needsHttp;
