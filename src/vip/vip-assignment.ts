import { Cidr, describeError, ipFamily, tryParseIp } from '../core/index.js';
import { VipError } from './errors.js';

/**
 * What a node is asked to do for virtual IPs. Plain data: it may come from a manifest, a snapshot or a program.
 *
 * - `l2`: of all nodes with this assignment one owns each address at a time, by a lease; it has the address on `interface`
 *   and answers ARP and neighbour discovery for it.
 * - `bgp`: every node with this assignment has the address on `lo` (or a dummy device) and announces it to its BGP peers,
 *   which spread connections over all of them.
 */
export type VipAssignment = L2VipAssignment | BgpVipAssignment;

interface VipAssignmentBase {
  /** Unique in one `apply`; 1 to 253 characters without white space. Shown in states, events and errors, and in no packet. */
  readonly name: string;
  /** 1 to 64 unicast addresses, IPv4, IPv6 or both, without a prefix length. No address may be in two assignments. */
  readonly addresses: readonly string[];
}

export interface L2VipAssignment extends VipAssignmentBase {
  readonly mode: 'l2';
  /** The device on the segment of the addresses. Default: that of the manager's `l2.interface`. */
  readonly interface?: string | undefined;
  /** How long ownership lasts without renewal: 1200 (default) to 600 000 ms. Failover takes this and about 0.3 s more. */
  readonly leaseTtlMs?: number | undefined;
}

export interface BgpVipAssignment extends VipAssignmentBase {
  readonly mode: 'bgp';
  /** Names of the peers to announce to. Default: all peers. */
  readonly peers?: readonly string[] | undefined;
  /** RFC 1997 communities as `65000:100`, or a well-known name: `no-export`, `no-advertise`, `no-export-subconfed`. At most 64. */
  readonly communities?: readonly string[] | undefined;
  /** RFC 8092 communities as `64512:1:2`. At most 64. */
  readonly largeCommunities?: readonly string[] | undefined;
  /** LOCAL_PREF, 0 to 2^32-1: sent to peers of the same AS alone. */
  readonly localPreference?: number | undefined;
  /** MULTI_EXIT_DISC, 0 to 2^32-1. */
  readonly med?: number | undefined;
  /** How many more times the own AS stands in the path: 0 (default) to 16. */
  readonly prepend?: number | undefined;
}

export const leaseTtlBounds = Object.freeze({ minMs: 1_200, defaultMs: 1_200, maxMs: 600_000 });
const maxAddresses = 64;
const maxCommunities = 64;

/** Blocks whose addresses no VIP can have. */
const impossible = [
  ['0.0.0.0/8', 'means "this host"'],
  ['127.0.0.0/8', 'is a loopback address'],
  ['224.0.0.0/4', 'is a multicast address'],
  ['240.0.0.0/4', 'is reserved or a broadcast address'],
  ['::/127', 'is the unspecified or the loopback address'],
  ['ff00::/8', 'is a multicast address'],
] as const;
const impossibleBlocks = impossible.map(([block, why]) => ({ block: Cidr.parse(block), why }));
const linkLocal = [Cidr.parse('169.254.0.0/16'), Cidr.parse('fe80::/10')];

/**
 * Checks assignments as a whole and returns them canonical and frozen (addresses as `parseIp` writes them, defaults left
 * out). Throws `VIP_CONFIGURATION_INVALID`, naming the assignment and the field.
 */
export function validateVipAssignments(assignments: readonly VipAssignment[]): readonly VipAssignment[] {
  const names = new Set<string>();
  const owners = new Map<string, string>();
  return Object.freeze(
    assignments.map((given) => {
      const assignment = validateVipAssignment(given);
      if (names.has(assignment.name)) throw invalid(assignment.name, 'name', 'is used by two assignments');
      names.add(assignment.name);
      for (const address of assignment.addresses) {
        const other = owners.get(address);
        if (other !== undefined)
          throw invalid(assignment.name, 'addresses', `${address} belongs to "${other}" already`);
        owners.set(address, assignment.name);
      }
      return assignment;
    }),
  );
}

/** One assignment by itself; see `validateVipAssignments`. */
export function validateVipAssignment(given: VipAssignment): VipAssignment {
  const { name } = given;
  if (typeof name !== 'string' || !/^[\x21-\x7e]{1,253}$/.test(name)) {
    throw invalid(
      String(name).slice(0, 253),
      'name',
      'must be 1 to 253 printable ASCII characters without white space',
    );
  }
  const addresses = checkedAddresses(given);
  switch (given.mode) {
    case 'l2': {
      const { leaseTtlMs } = given;
      checkInteger(name, 'leaseTtlMs', leaseTtlMs, leaseTtlBounds.minMs, leaseTtlBounds.maxMs);
      if (given.interface !== undefined) checkDeviceName(name, given.interface);
      return Object.freeze({ name, mode: 'l2', addresses, ...defined({ interface: given.interface, leaseTtlMs }) });
    }
    case 'bgp': {
      const local = addresses.find((address) => linkLocal.some((block) => block.contains(address)));
      if (local !== undefined) throw invalid(name, 'addresses', `${local} is link-local, which no router forwards`);
      for (const field of ['localPreference', 'med'] as const) checkInteger(name, field, given[field], 0, 2 ** 32 - 1);
      checkInteger(name, 'prepend', given.prepend, 0, 16);
      const { localPreference, med, prepend } = given;
      const peers = checkedTexts(name, 'peers', given.peers, /^[\x21-\x7e]{1,253}$/);
      const communities = checkedTexts(name, 'communities', given.communities, communityPattern, 16);
      const largeCommunities = checkedTexts(name, 'largeCommunities', given.largeCommunities, largePattern, 32);
      const rest = defined({ peers, communities, largeCommunities, localPreference, med, prepend });
      return Object.freeze({ name, mode: 'bgp', addresses, ...rest });
    }
    default:
      throw invalid(name, 'mode', `must be "l2" or "bgp", got ${JSON.stringify((given as { mode: unknown }).mode)}`);
  }
}

const communityPattern = /^(no-export|no-advertise|no-export-subconfed|\d{1,5}:\d{1,5})$/;
const largePattern = /^\d{1,10}:\d{1,10}:\d{1,10}$/;

function checkedAddresses({ name, addresses }: VipAssignment): readonly string[] {
  if (!Array.isArray(addresses) || addresses.length < 1 || addresses.length > maxAddresses) {
    throw invalid(name, 'addresses', `must be 1 to ${String(maxAddresses)} addresses`);
  }
  const canonical = (addresses as readonly unknown[]).map((text) => {
    const address = typeof text === 'string' ? tryParseIp(text) : undefined;
    if (address === undefined) throw invalid(name, 'addresses', `${JSON.stringify(text)} is not an IP address`);
    const why = impossibleBlocks.find(({ block }) => block.contains(address))?.why;
    if (why !== undefined) throw invalid(name, 'addresses', `${address} ${why}`);
    return address;
  });
  if (new Set(canonical).size !== canonical.length) throw invalid(name, 'addresses', 'names an address twice');
  return Object.freeze(canonical);
}

function checkedTexts(
  name: string,
  field: string,
  texts: readonly string[] | undefined,
  pattern: RegExp,
  bits?: number,
): readonly string[] | undefined {
  if (texts === undefined) return undefined;
  if (!Array.isArray(texts) || texts.length > maxCommunities) {
    throw invalid(name, field, `must be a list of at most ${String(maxCommunities)}`);
  }
  const entries: readonly unknown[] = texts;
  for (const text of entries) {
    const fits = typeof text === 'string' && pattern.test(text);
    const parts = fits && bits !== undefined ? text.split(':').filter((part) => /^\d+$/.test(part)) : [];
    if (!fits || parts.some((part) => Number(part) >= 2 ** (bits ?? 32))) {
      throw invalid(name, field, `has a malformed entry ${JSON.stringify(text)}`);
    }
  }
  return Object.freeze(entries.map(String));
}

function checkInteger(name: string, field: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw invalid(
    name,
    field,
    `must be a whole number from ${String(min)} to ${String(max)}, got ${describeError(value)}`,
  );
}

function checkDeviceName(name: string, device: unknown): void {
  if (typeof device === 'string' && /^[^\s/:]{1,15}$/.test(device) && device !== '.' && device !== '..') return;
  throw invalid(name, 'interface', `must be the name of a network device, got ${JSON.stringify(device)}`);
}

function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

function invalid(name: string, field: string, what: string): VipError {
  return new VipError('VIP_CONFIGURATION_INVALID', `virtual IP ${JSON.stringify(name)}: ${field} ${what}`, {
    fields: { vip: name, field },
  });
}

/** 4 or 6 with the widest prefix: how a VIP stands on a device and in a route. */
export function hostPrefix(address: string): string {
  return `${address}/${ipFamily(address) === 4 ? '32' : '128'}`;
}
