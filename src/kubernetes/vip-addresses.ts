/** Which addresses a ProxyVIP has: those it names, else those it is given out of its pool. */
import { Cidr, ipFamily, tryParseIp } from '../core/index.js';
import type { IpFamily } from '../core/index.js';
import { allocateFromPools } from './ip-pools.js';
import type { IpPool, PoolAllocation, PoolRequest } from './ip-pools.js';
import { problemAt } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { FieldPath } from './manifest-problem.js';
import type { MappingContext, Typed } from './mapping-context.js';
import { warnOfUnknownFields } from './unknown-fields.js';
import { proxyIpPoolFields } from './vip-schemas.js';
import type { ProxyIpPoolManifest, ProxyVipManifest } from './vip-schemas.js';

type TypedVip = Typed<ProxyVipManifest>;

export interface VipAddresses {
  /** Of each VIP that can have all its families; the others were reported. */
  readonly addresses: ReadonlyMap<TypedVip, readonly string[]>;
  readonly allocations: readonly PoolAllocation[];
}

/** `reserved` are addresses of nodes, pods and services: a VIP that names one of them is refused. */
export function addressesOfVips(
  context: MappingContext,
  reserved: ReadonlyMap<string, string>,
  previous: readonly PoolAllocation[],
): VipAddresses {
  const vips = context.all<ProxyVipManifest>('ProxyVIP').toSorted((a, b) => (a.object.name < b.object.name ? -1 : 1));
  const taken = new Map(reserved);
  const named = new Map<TypedVip, Map<IpFamily, string>>();
  const failed = new Set<TypedVip>();
  for (const vip of vips) {
    const own = new Map<IpFamily, string>();
    for (const field of ['address', 'ipv6Address'] as const) {
      const text = vip.manifest.spec[field];
      if (text === undefined || text === '') continue;
      const address = readAddress(context, vip, ['spec', field], text);
      const owner = address === undefined ? undefined : taken.get(address);
      if (owner !== undefined) {
        context.problems.push(
          problemAt(vip.object, ['spec', field], {
            expected: 'an address of this VIP alone',
            got: `${String(address)}, which belongs to ${owner}`,
            fix: 'give one of them another address; until then this VIP is left out',
          }),
        );
      }
      if (address === undefined || owner !== undefined) failed.add(vip);
      else {
        taken.set(address, `ProxyVIP ${vip.object.name}`);
        own.set(ipFamily(address), address);
      }
    }
    named.set(vip, own);
  }
  const pools = readPools(context);
  const requests = vips.flatMap((vip) => (failed.has(vip) ? [] : requestsOf(vip, named.get(vip) ?? new Map())));
  const { allocations, failures } = allocateFromPools({
    pools,
    requests,
    taken: new Set(taken.keys()),
    previous: [...previous, ...statedAllocations(vips)],
  });
  for (const { request, reason } of failures) {
    const vip = vips.find(({ object }) => object.name === request.vip);
    if (vip === undefined) continue;
    failed.add(vip);
    context.problems.push(problemAt(vip.object, ['spec', 'poolRef', 'name'], failureText(request, reason)));
  }
  const addresses = new Map<TypedVip, readonly string[]>();
  for (const vip of vips) {
    if (failed.has(vip)) continue;
    const given = allocations.filter((allocation) => allocation.vip === vip.object.name).map(({ address }) => address);
    const all = [...(named.get(vip)?.values() ?? []), ...given];
    const wanted = familiesOf(vip, named.get(vip) ?? new Map());
    const missing = wanted.find((family) => !all.some((address) => ipFamily(address) === family));
    if (missing === undefined && all.length > 0) {
      addresses.set(vip, all.filter((address) => wanted.includes(ipFamily(address))).toSorted(byFamily));
      continue;
    }
    context.problems.push(
      problemAt(vip.object, ['spec', missing === 6 ? 'ipv6Address' : 'address'], {
        expected: `an IPv${String(missing ?? 4)} address, or a poolRef`,
        got: 'nothing',
        fix: 'name an address or a pool; until then this VIP is left out',
      }),
    );
  }
  return { addresses, allocations };
}

function byFamily(a: string, b: string): number {
  return ipFamily(a) - ipFamily(b);
}

/** What `addressFamily` asks for; without it, whatever is named, and IPv4 where nothing is. */
function familiesOf({ manifest }: TypedVip, named: ReadonlyMap<IpFamily, string>): readonly IpFamily[] {
  switch (manifest.spec.addressFamily) {
    case 'ipv4':
      return [4];
    case 'ipv6':
      return [6];
    case 'dual':
      return [4, 6];
    default:
      return named.size === 0 ? [4] : [...named.keys()];
  }
}

function requestsOf(vip: TypedVip, named: ReadonlyMap<IpFamily, string>): readonly PoolRequest[] {
  const pool = vip.manifest.spec.poolRef?.name;
  if (pool === undefined) return [];
  return familiesOf(vip, named)
    .filter((family) => !named.has(family))
    .map((family) => ({ vip: vip.object.name, pool, family }));
}

/** What an operator's status says was given, for a controller that has no memory of its own yet. */
function statedAllocations(vips: readonly TypedVip[]): readonly PoolAllocation[] {
  return vips.flatMap(({ object, manifest }) => {
    const status = manifest.status as Readonly<Record<string, unknown>> | undefined;
    const pool = manifest.spec.poolRef?.name;
    if (pool === undefined || typeof status !== 'object') return [];
    return [status['allocatedAddress'], status['allocatedIPv6Address']].flatMap((value) => {
      const address = typeof value === 'string' ? hostAddress(value) : undefined;
      return address === undefined ? [] : [{ vip: object.name, pool, address }];
    });
  });
}

/** `10.0.0.1` and `10.0.0.1/32`; undefined for anything else. */
function hostAddress(text: string): string | undefined {
  const [ip = '', length, ...rest] = text.split('/');
  const address = tryParseIp(ip);
  if (address === undefined || rest.length > 0) return undefined;
  return length === undefined || length === (ipFamily(address) === 4 ? '32' : '128') ? address : undefined;
}

function readAddress(context: MappingContext, vip: TypedVip, path: FieldPath, text: string): string | undefined {
  const address = hostAddress(text);
  const family = path[1] === 'ipv6Address' ? 6 : undefined;
  if (address !== undefined && isAnnounceable(address) && (family === undefined || ipFamily(address) === family)) {
    return address;
  }
  context.problems.push(
    problemAt(vip.object, path, {
      expected: `one ${family === 6 ? 'IPv6' : 'IP'} address such as ${family === 6 ? '2001:db8::10/128' : '192.0.2.10/32'}`,
      got: showValue(text),
      fix: 'correct the address; until then this VIP is left out',
    }),
  );
  return undefined;
}

const never = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3', '::/127', 'fe80::/10', 'ff00::/8'].map(
  (text) => Cidr.parse(text),
);

/** Unicast, and of more than one link or host. */
function isAnnounceable(address: string): boolean {
  return !never.some((block) => block.contains(address));
}

function readPools(context: MappingContext): ReadonlyMap<string, IpPool> {
  const pools = new Map<string, IpPool>();
  const claimed: { readonly pool: string; readonly block: Cidr }[] = [];
  for (const { object, manifest } of context.all<ProxyIpPoolManifest>('ProxyIPPool')) {
    warnOfUnknownFields(context, object, proxyIpPoolFields, manifest.spec);
    const read = (field: 'cidrs' | 'addresses'): readonly Cidr[] =>
      (manifest.spec[field] ?? []).flatMap((text, index) => {
        const path = ['spec', field, index];
        const block = parseBlock(text, field);
        if (block === undefined) {
          const expected = field === 'cidrs' ? 'a block such as 192.0.2.0/24' : 'an address such as 192.0.2.10/32';
          const fix = 'correct it; until then it is not part of the pool';
          context.problems.push(problemAt(object, path, { expected, got: showValue(text), fix }));
          return [];
        }
        const other = claimed.find((each) => overlap(each.block, block));
        if (other !== undefined) {
          context.problems.push(
            problemAt(object, path, {
              severity: 'warning',
              expected: 'addresses of this pool alone',
              got: `${block.toString()}, which overlaps ${other.block.toString()} of ProxyIPPool ${other.pool}`,
              fix: 'nothing is given out twice, but say which pool it belongs to',
            }),
          );
        }
        claimed.push({ pool: object.name, block });
        return [block];
      });
    const addresses = read('addresses').map(({ address }) => address);
    pools.set(object.name, {
      name: object.name,
      addresses,
      blocks: read('cidrs'),
      autoAssign: manifest.spec.autoAssign ?? true,
    });
  }
  return pools;
}

function parseBlock(text: string, field: 'cidrs' | 'addresses'): Cidr | undefined {
  try {
    const block = Cidr.parse(text);
    const single = block.prefixLength === (block.family === 4 ? 32 : 128);
    return (field === 'addresses' && !single) || !isAnnounceable(block.address) ? undefined : block;
  } catch {
    return undefined;
  }
}

function overlap(a: Cidr, b: Cidr): boolean {
  return a.contains(b.address) || b.contains(a.address);
}

function failureText(
  request: PoolRequest,
  reason: 'no-pool' | 'exhausted' | 'manual',
): { readonly expected: string; readonly got: string; readonly fix: string } {
  const left = 'until then this VIP is left out';
  switch (reason) {
    case 'no-pool':
      return {
        expected: 'the name of a ProxyIPPool',
        got: showValue(request.pool),
        fix: `make that pool or name another; ${left}`,
      };
    case 'exhausted':
      return {
        expected: `a free IPv${String(request.family)} address in ProxyIPPool ${request.pool}`,
        got: 'none',
        fix: `add addresses to the pool, or delete a VIP; ${left}`,
      };
    case 'manual':
      return {
        expected: 'an address in spec.address',
        got: `ProxyIPPool ${request.pool} with autoAssign: false`,
        fix: `name an address, or set autoAssign: true on the pool; ${left}`,
      };
  }
}
