import { isMeshwrightError, parseIp } from '../../core/index.js';
import { VipError } from '../errors.js';
import type { LargeCommunity } from './codec/attributes.js';
import { parsePrefix, prefixText } from './codec/prefix.js';
import type { BgpPrefix } from './codec/prefix.js';
import { parseCommunity, parseLargeCommunity } from './communities.js';

/** What is said about a route, to every peer or to one. */
export interface BgpRouteAttributes {
  /** 0 to 4294967295; sent to peers of the own AS only. Default there 100. */
  readonly localPreference?: number | undefined;
  /** MULTI_EXIT_DISC, 0 to 4294967295. Default none. */
  readonly med?: number | undefined;
  /** `64512:100` or a well-known name such as `no-export`; at most 64. */
  readonly communities?: readonly string[] | undefined;
  /** `64512:100:1`; at most 64. */
  readonly largeCommunities?: readonly string[] | undefined;
  /** How many times more than once the own AS is put into the path, 0 to 32; to peers of other AS only. Default 0. */
  readonly prepend?: number | undefined;
}

/** A network to announce. */
export interface BgpRoute {
  /** `203.0.113.10/32`, `2001:db8::10/128`; an address alone is a host route. */
  readonly prefix: string;
  readonly attributes?: (BgpRouteAttributes & { readonly nextHop?: string | undefined }) | undefined;
  /** Names or addresses of the peers it goes to. Default all (that their `announce` lets through). */
  readonly peers?: readonly string[] | undefined;
}

/** Attributes parsed. */
export interface ResolvedAttributes {
  readonly localPreference?: number | undefined;
  readonly med?: number | undefined;
  readonly communities: readonly number[];
  readonly largeCommunities: readonly LargeCommunity[];
  readonly prepend?: number | undefined;
}

export interface ResolvedRoute {
  /** Canonical. */
  readonly key: string;
  readonly prefix: BgpPrefix;
  readonly attributes: ResolvedAttributes;
  readonly nextHop?: string | undefined;
  readonly peers?: ReadonlySet<string> | undefined;
  readonly original: BgpRoute;
}

/** Throws `VIP_CONFIGURATION_INVALID`. */
export function resolveRoute(route: BgpRoute): ResolvedRoute {
  const where = `route ${JSON.stringify(route.prefix)}`;
  const prefix = parsed(`${where}: prefix`, () => parsePrefix(route.prefix));
  const { nextHop } = route.attributes ?? {};
  return Object.freeze({
    key: prefixText(prefix),
    prefix,
    attributes: resolveAttributes(route.attributes ?? {}, where),
    original: route,
    ...(nextHop === undefined ? {} : { nextHop: parsed(`${where}: nextHop`, () => parseIp(nextHop)) }),
    ...(route.peers === undefined ? {} : { peers: new Set(route.peers) }),
  });
}

/** Throws `VIP_CONFIGURATION_INVALID`, naming the field after `where`. */
export function resolveAttributes(from: BgpRouteAttributes, where: string): ResolvedAttributes {
  const uint32 = 0xffff_ffff;
  const { localPreference, med, prepend } = from;
  integer(localPreference, 0, uint32, `${where}: localPreference`);
  integer(med, 0, uint32, `${where}: med`);
  integer(prepend, 0, 32, `${where}: prepend`);
  return Object.freeze({
    communities: list(from.communities, parseCommunity, `${where}: communities`, '64512:100 or a well-known name'),
    largeCommunities: list(from.largeCommunities, parseLargeCommunity, `${where}: largeCommunities`, '64512:100:1'),
    ...(localPreference === undefined ? {} : { localPreference }),
    ...(med === undefined ? {} : { med }),
    ...(prepend === undefined ? {} : { prepend }),
  });
}

/** Checks an optional integer. Throws `VIP_CONFIGURATION_INVALID`. */
export function integer(value: number | undefined, min: number, max: number, what: string): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw invalid(`${what}: expected an integer from ${String(min)} to ${String(max)}, got ${String(value)}`);
}

/** What `parse` returns; what it throws becomes `VIP_CONFIGURATION_INVALID`. */
export function parsed<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!isMeshwrightError(error)) throw error;
    throw invalid(`${what}: ${error.message}`, error);
  }
}

export function invalid(message: string, cause?: unknown): VipError {
  return new VipError('VIP_CONFIGURATION_INVALID', message, { cause });
}

function list<T>(
  texts: readonly string[] | undefined,
  parse: (text: string) => T | undefined,
  what: string,
  expected: string,
): readonly T[] {
  if (texts === undefined) return [];
  if (texts.length > 64) throw invalid(`${what}: expected at most 64, got ${String(texts.length)}`);
  return texts.map((text) => {
    const value = parse(text);
    if (value === undefined) throw invalid(`${what}: expected ${expected}, got ${JSON.stringify(text)}`);
    return value;
  });
}
