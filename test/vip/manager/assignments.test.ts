import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIp } from '../../../src/core/index.js';
import { validateVipAssignments } from '../../../src/vip/index.js';
import type { VipAssignment } from '../../../src/vip/index.js';
import { kernelLifetimeMs } from '../../../src/vip/addresses/index.js';
import { failoverBoundMs, leaseTiming, managerProbe, mayRefresh } from '../../../src/vip/lease-timing.js';

const refused = (assignments: unknown): string => {
  try {
    validateVipAssignments(assignments as VipAssignment[]);
    return 'taken';
  } catch (error) {
    expect(error).toMatchObject({ code: 'VIP_CONFIGURATION_INVALID' });
    return (error as Error).message;
  }
};
const l2 = { name: 'a', mode: 'l2', addresses: ['192.0.2.1'] };
const bgp = { name: 'a', mode: 'bgp', addresses: ['192.0.2.1'] };

describe('assignments', () => {
  it('are made canonical', () => {
    const [taken] = validateVipAssignments([
      {
        name: 'a',
        mode: 'bgp',
        addresses: ['2001:DB8:0::1', '192.0.2.1'],
        communities: ['65000:1', 'no-export'],
        med: 0,
      },
    ]);
    expect(taken).toEqual({
      ...{ name: 'a', mode: 'bgp', addresses: ['2001:db8::1', '192.0.2.1'] },
      ...{ communities: ['65000:1', 'no-export'], med: 0 },
    });
    expect(Object.isFrozen(taken)).toBe(true);
  });

  it.each([
    [[l2, { ...l2, addresses: ['192.0.2.2'] }], 'used by two'],
    [[l2, { ...l2, name: 'b' }], 'belongs to "a" already'],
    [[{ ...l2, addresses: ['2001:db8::1', '2001:0db8::1'] }], 'twice'],
    [[{ ...l2, addresses: [] }], 'addresses'],
    [[{ ...l2, addresses: ['192.0.2.1/24'] }], 'not an IP address'],
    [[{ ...l2, addresses: ['127.0.0.1'] }], 'loopback'],
    [[{ ...l2, addresses: ['::'] }], 'unspecified'],
    [[{ ...l2, addresses: ['224.0.0.5'] }], 'multicast'],
    [[{ ...l2, addresses: ['ff02::1'] }], 'multicast'],
    [[{ ...l2, addresses: ['255.255.255.255'] }], 'broadcast'],
    [[{ ...l2, name: 'a b' }], 'name'],
    [[{ ...l2, mode: 'ospf' }], 'mode'],
    [[{ ...l2, interface: '../eth0' }], 'interface'],
    [[{ ...l2, leaseTtlMs: 1_199 }], 'leaseTtlMs'],
    [[{ ...l2, leaseTtlMs: Number.NaN }], 'leaseTtlMs'],
    [[{ ...bgp, addresses: ['fe80::1'] }], 'link-local'],
    [[{ ...bgp, communities: ['65536:1'] }], 'communities'],
    [[{ ...bgp, communities: 'no-export' }], 'communities'],
    [[{ ...bgp, largeCommunities: ['1:2'] }], 'largeCommunities'],
    [[{ ...bgp, localPreference: -1 }], 'localPreference'],
    [[{ ...bgp, med: 2 ** 32 }], 'med'],
    [[{ ...bgp, prepend: 17 }], 'prepend'],
  ])('%j are refused with the field named', (assignments, named) => {
    expect(refused(assignments)).toContain(named);
  });

  it('never throw anything else, and what is taken is taken again as it is', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string());
    const given = fc.record(
      {
        name: fc.oneof(fc.string(), fc.constant('a')),
        mode: fc.constantFrom('l2', 'bgp', 'x'),
        addresses: fc.oneof(fc.array(address, { maxLength: 3 }), fc.anything()),
        interface: fc.oneof(fc.string(), fc.constant(undefined)),
        leaseTtlMs: fc.oneof(fc.integer(), fc.double(), fc.constant(undefined)),
        communities: fc.oneof(fc.array(fc.string()), fc.anything()),
        med: fc.oneof(fc.integer(), fc.double()),
      },
      { requiredKeys: ['name', 'mode', 'addresses'] },
    );
    fc.assert(
      fc.property(fc.array(given, { maxLength: 3 }), (assignments) => {
        if (refused(assignments) !== 'taken') return;
        const once = validateVipAssignments(assignments as VipAssignment[]);
        expect(validateVipAssignments(once)).toEqual(once);
        for (const { addresses } of once) for (const each of addresses) expect(parseIp(each)).toBe(each);
      }),
    );
  });
});

describe('lease timing', () => {
  it('keeps the promised bound by default', () => {
    expect(failoverBoundMs(1_200, managerProbe, 25)).toBeLessThanOrEqual(1_500);
    expect(leaseTiming(1_200, managerProbe).lifetimeSeconds).toBe(1);
  });

  it('lets no refreshed address live on when the next owner has probed, and leaves room to refresh', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_200, max: 600_000 }), fc.integer({ min: 0, max: 700_000 }), (ttlMs, sinceMs) => {
        const timing = leaseTiming(ttlMs, managerProbe);
        // Sent at 0, refreshed at `sinceMs`.
        if (mayRefresh(sinceMs, ttlMs, timing)) {
          expect(sinceMs + kernelLifetimeMs(timing.lifetimeSeconds)).toBeLessThanOrEqual(ttlMs + timing.probeMs);
        }
        expect(mayRefresh(100, ttlMs, timing)).toBe(true);
        // At least two renewals fall into a lifetime.
        expect(2 * timing.renewEveryMs).toBeLessThan(1000 * timing.lifetimeSeconds);
      }),
    );
  });

  it('refuses what no whole second fits into', () => {
    expect(() => leaseTiming(1_100, managerProbe)).toThrow(/too short/);
    expect(() => leaseTiming(1_200, { ...managerProbe, listenMs: 0 })).toThrow(/too short/);
  });
});
