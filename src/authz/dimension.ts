/**
 * Attributes by which rules are found. A term that can only hold for certain values of one names them as its keys; a
 * rule then needs to be looked at only for requests that have one of these, or that leave the attribute open.
 */
export const dimensions = ['account', 'namespace', 'identity', 'port', 'path', 'pathHead', 'host', 'method'] as const;
export type Dimension = (typeof dimensions)[number];

/** Key under `identity` of every rule that may match a request whose node is not known. */
export const unknownNode = '';

export type Key = string | number;
