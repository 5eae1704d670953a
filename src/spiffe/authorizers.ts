/** Who is welcome, after authentication. Plain functions, so that they combine with nothing but code. */
import { describeError } from '../core/index.js';
import { isControllerId, readAgentId } from './mesh-ids.js';
import { spiffeGlob } from './spiffe-glob.js';
import { SpiffeId } from './spiffe-id.js';
import { TrustDomain } from './trust-domain.js';

/** Accepts a verified peer by returning exactly `true`. A string refuses and is the reason for the log; so does anything else. */
export type PeerAuthorizer = (id: SpiffeId) => boolean | string;

/**
 * Asks an authorizer and closes on everything that is not `true`, a throw included: undefined when accepted, otherwise the
 * reason. Never throws.
 */
export function refusalOf(authorize: PeerAuthorizer, id: SpiffeId): string | undefined {
  let verdict: unknown;
  try {
    verdict = authorize(id);
  } catch (cause) {
    return `the authorizer failed: ${describeError(cause)}`;
  }
  if (verdict === true) return undefined;
  return typeof verdict === 'string' && verdict !== '' ? verdict : `${id.toString()} is not authorized`;
}

/** That one ID. Throws `SPIFFE_ID_MALFORMED`. */
export function authorizeId(expected: SpiffeId | string): PeerAuthorizer {
  const only = toId(expected);
  return (id) => id.equals(only) || `expected ${only.toString()}, got ${id.toString()}`;
}

/** Any of these IDs; an empty list accepts nobody. Throws `SPIFFE_ID_MALFORMED`. */
export function authorizeOneOf(expected: Iterable<SpiffeId | string>): PeerAuthorizer {
  const texts = new Set(Array.from(expected, (id) => toId(id).toString()));
  return (id) => texts.has(id.toString()) || `expected one of ${String(texts.size)} listed IDs, got ${id.toString()}`;
}

/** Every ID of the trust domain. Throws `SPIFFE_TRUST_DOMAIN_MALFORMED`. */
export function authorizeMemberOf(trustDomain: TrustDomain | string): PeerAuthorizer {
  const expected = typeof trustDomain === 'string' ? TrustDomain.parse(trustDomain) : trustDomain;
  return (id) => id.memberOf(expected) || `expected a member of ${expected.name}, got ${id.toString()}`;
}

/** IDs that match the glob (see `spiffeGlob`). Throws `SPIFFE_GLOB_MALFORMED`. */
export function authorizeGlob(pattern: string): PeerAuthorizer {
  const matches = spiffeGlob(pattern);
  return (id) => matches(id) || `expected an ID that matches ${pattern}, got ${id.toString()}`;
}

/** Any agent, `/agent/<node>`. The trust domain is that of the bundle the peer was verified against. */
export function authorizeAgent(): PeerAuthorizer {
  return (id) => readAgentId(id) !== undefined || `expected an agent, got ${id.toString()}`;
}

/** The controller, `/controller`. The trust domain is that of the bundle the peer was verified against. */
export function authorizeController(): PeerAuthorizer {
  return (id) => isControllerId(id) || `expected the controller, got ${id.toString()}`;
}

function toId(id: SpiffeId | string): SpiffeId {
  return typeof id === 'string' ? SpiffeId.parse(id) : id;
}
