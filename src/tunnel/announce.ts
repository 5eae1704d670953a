/**
 * The evidence request: how a client shows fresh evidence (a new workload token) for streams that are open, without a
 * stream of its own. HEADERS with END_STREAM, `:scheme: https`, the token in its usual header.
 */
export const announceMethod = 'PUT';
export const announcePath = '/.well-known/meshwright/evidence';
export const announceAuthority = 'mesh.invalid';
