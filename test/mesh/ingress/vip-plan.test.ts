import { describe, expect, it } from 'vitest';
import { meshVipSchema, vipPlan } from '../../../src/mesh/index.js';
import type { MeshVip } from '../../../src/mesh/index.js';
import { validateVipAssignments } from '../../../src/vip/index.js';

const l2 = (changes: Record<string, unknown> = {}): MeshVip =>
  meshVipSchema.parse({
    name: 'l2',
    addresses: ['203.0.113.1'],
    mode: 'l2',
    nodes: ['a', 'b'],
    ports: [80],
    ...changes,
  });

const bgp = (changes: Record<string, unknown> = {}, routing: Record<string, unknown> = {}): MeshVip =>
  meshVipSchema.parse({
    name: 'bgp',
    addresses: ['203.0.113.2', '2001:db8::2'],
    mode: 'bgp',
    nodes: ['a'],
    ports: [443],
    bgp: {
      speakers: [{ node: 'a', localAs: 64513, routerId: '192.0.2.1' }],
      peers: [{ address: '192.0.2.254', as: 64512, ttlSecurity: true }],
      communities: ['65000:100', '64512:1:2'],
      localPreference: 200,
      ...routing,
    },
    ...changes,
  });

const plan = (vips: readonly MeshVip[], node = 'a') => vipPlan(node, { known: vips, serving: vips });

describe('vipPlan', () => {
  it('says each mode in the words of the manager, which takes it', () => {
    const { assignments } = plan([l2({ interface: 'eth1' }), bgp()]);
    expect(assignments).toEqual([
      { name: 'l2', addresses: ['203.0.113.1'], mode: 'l2', interface: 'eth1' },
      {
        name: 'bgp',
        addresses: ['203.0.113.2', '2001:db8::2'],
        mode: 'bgp',
        peers: ['192.0.2.254'],
        communities: ['65000:100'],
        largeCommunities: ['64512:1:2'],
        localPreference: 200,
      },
    ]);
    expect(validateVipAssignments(assignments)).toHaveLength(2);
  });

  it('announces only what can be served, and keeps the sessions of the others', () => {
    const { assignments, bgp: speaker } = vipPlan('a', { known: [l2(), bgp()], serving: [l2()] });
    expect(assignments.map(({ name }) => name)).toEqual(['l2']);
    expect(speaker).toMatchObject({ localAs: 64513, routerId: '192.0.2.1', peers: [{ address: '192.0.2.254' }] });
  });

  it('leaves out what is for other nodes', () => {
    expect(plan([bgp()], 'b')).toEqual({ assignments: [], bgp: undefined });
  });

  it('adds what only the node knows: passwords, and whether it listens', () => {
    const passwords = new Map([['192.0.2.254', 'hush']]);
    const { bgp: speaker } = vipPlan('a', { known: [bgp()], serving: [], bgp: { passwords, listen: { port: 1179 } } });
    expect(speaker).toMatchObject({ listen: { port: 1179 }, peers: [{ password: 'hush', remoteAs: 64512 }] });
  });

  it('has each router once, watched by BFD as soon as one virtual IP asks for it', () => {
    const more = {
      peers: [
        { address: '192.0.2.254', as: 64512 },
        { address: '192.0.2.253', as: 64512 },
      ],
    };
    const { bgp: speaker } = plan([
      bgp(),
      bgp({ name: 'x', addresses: ['203.0.113.3'], bfd: { txIntervalMs: 100 } }, more),
    ]);
    expect(
      speaker?.peers.map(({ address, ttlSecurity, bfd }) => [
        address,
        ttlSecurity,
        typeof bfd === 'object' ? bfd.txIntervalMs : bfd,
      ]),
    ).toEqual([
      ['192.0.2.254', true, 100],
      ['192.0.2.253', false, 100],
    ]);
  });
});
