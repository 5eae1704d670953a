import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { InterceptionPlan } from '../../src/tproxy/index.js';
import { normalPlan } from '../../src/tproxy/interception-plan.js';

const empty: InterceptionPlan = { pods: [], outbound: [], inbound: [], host: { mode: 'probes', probes: [] } };

describe('an interception plan', () => {
  test('is the same whatever the order and the spelling of addresses', () => {
    const entry = fc.record({
      ip: fc.oneof(fc.ipV4(), fc.ipV6()),
      port: fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 8 }), (outbound) => {
        const one = normalPlan({ ...empty, outbound, inbound: outbound });
        const other = normalPlan({
          ...empty,
          outbound: [...outbound, ...outbound].reverse(),
          inbound: [...outbound].reverse(),
        });
        expect(other).toEqual(one);
      }),
    );
    expect(
      normalPlan({ ...empty, inbound: [{ ip: 'FD00:0::1' }, { ip: 'fd00::1' }, { ip: '::ffff:10.0.0.1' }] }).inbound,
    ).toEqual(['10.0.0.1', 'fd00::1']);
  });

  test.each([
    [{ ...empty, inbound: [{ ip: '10.0.0.1/24' }] }, 'expected an IP address'],
    [{ ...empty, outbound: [{ ip: '10.0.0.1', port: 0 }] }, 'expected a port'],
    [{ ...empty, outbound: [{ ip: 'example.org' }] }, 'expected an IP address'],
    [{ ...empty, host: { mode: 'probes', probes: [{ ip: '10.0.0.1', port: 1.5 }] } }, 'expected a port'],
    [{ ...empty, pods: [{ hostInterface: 'veth0" } ; flush ruleset', addresses: [] }] }, 'expected an interface name'],
    [{ ...empty, pods: [{ hostInterface: 'a-name-of-16-char', addresses: [] }] }, 'expected an interface name'],
    [{ ...empty, pods: [{ hostInterface: '', addresses: [] }] }, 'expected an interface name'],
    [
      {
        ...empty,
        pods: [
          { hostInterface: 'veth0', addresses: ['10.0.0.1'] },
          { hostInterface: 'veth1', addresses: ['10.0.0.1'] },
        ],
      },
      'claimed by the interfaces veth0 and veth1',
    ],
  ] as [InterceptionPlan, string][])('refuses %j', (plan, why) => {
    expect(() => normalPlan(plan)).toThrow(
      expect.objectContaining({
        code: 'TPROXY_PLAN_INVALID',
        message: expect.stringContaining(why) as string,
      }) as Error,
    );
  });
});
