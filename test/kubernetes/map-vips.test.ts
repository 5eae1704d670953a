import { describe, expect, it } from 'vitest';
import { formatProblem } from '../../src/kubernetes/index.js';
import type { MappedState } from '../../src/kubernetes/index.js';
import { meshStateSchema, scopeToNode } from '../../src/mesh/index.js';
import { document, map, nodes, pod, service } from './manifests.js';

function vip(name: string, spec: Record<string, unknown>, rest: Record<string, unknown> = {}): string {
  return document({ apiVersion: 'novaedge.io/v1alpha1', kind: 'ProxyVIP', metadata: { name }, spec, ...rest });
}

function pool(name: string, spec: Record<string, unknown>): string {
  return document({ apiVersion: 'novaedge.io/v1alpha1', kind: 'ProxyIPPool', metadata: { name }, spec });
}

const l2 = { mode: 'L2ARP', address: '203.0.113.10/32', addressFamily: 'ipv4', ports: [443, 80] };
const bgp = {
  mode: 'BGP',
  address: '203.0.113.20/32',
  ports: [443],
  bgpConfig: { localAS: 64513, routerID: '192.0.2.250', peers: [{ address: '192.0.2.254', as: 64512 }] },
};

/** The problems but notes, as lines; every one must lead to a line of the file. */
function lines({ problems }: MappedState): readonly string[] {
  return problems.filter(({ severity }) => severity !== 'info').map(formatProblem);
}

function only(mapped: MappedState) {
  expect(lines(mapped)).toEqual([]);
  expect(() => meshStateSchema.parse(mapped.state)).not.toThrow();
  expect(mapped.state.vips).toHaveLength(1);
  return mapped.state.vips[0];
}

describe('ProxyVIP', () => {
  it('in L2 mode is announced by any node, at its ports', () => {
    expect(only(map(nodes + vip('edge', l2)))).toEqual({
      name: 'edge',
      addresses: ['203.0.113.10'],
      mode: 'l2',
      nodes: ['node-a', 'node-b'],
      ports: [80, 443],
      targets: [],
    });
  });

  it('has both addresses in dual mode, in canonical form', () => {
    const spec = { ...l2, addressFamily: 'dual', ipv6Address: '2001:DB8:0::10/128', interface: 'eth0' };
    expect(only(map(nodes + vip('edge', spec)))).toMatchObject({
      addresses: ['203.0.113.10', '2001:db8::10'],
      interface: 'eth0',
    });
  });

  it('takes the nodes that its selector selects', () => {
    const labelled = nodes.replace('name: node-b,', 'name: node-b, labels: { edge: "yes" },');
    const nodeSelector = { matchExpressions: [{ key: 'edge', operator: 'Exists' }] };
    expect(only(map(labelled + vip('edge', { ...l2, nodeSelector })))?.nodes).toEqual(['node-b']);
  });

  it('leads to the services that name it, port by port', () => {
    const text =
      nodes +
      pod('gateway', '10.0.0.1', { labels: { app: 'gateway' } }) +
      service(
        'gateway',
        { clusterIP: '10.96.0.1', selector: { app: 'gateway' }, ports: [{ name: 'web', port: 80, targetPort: 8080 }] },
        { 'novaedge.io/vip-ref': 'edge' },
      ) +
      vip('edge', l2);
    expect(only(map(text))?.targets).toEqual([{ port: 80, service: 'shop/gateway', servicePort: 80 }]);
  });

  it('is sent to the nodes that may announce it alone', () => {
    const nodeSelector = { matchLabels: { edge: 'yes' } };
    const labelled = nodes.replace('name: node-b,', 'name: node-b, labels: { edge: "yes" },');
    const { state } = map(labelled + vip('edge', { ...l2, nodeSelector }));
    expect(scopeToNode(state, 'node-a').vips).toEqual([]);
    expect(scopeToNode(state, 'node-b').vips).toEqual(state.vips);
  });

  it('in BGP mode makes a speaker of each node, named by its own address', () => {
    const spec = { ...bgp, bfd: { enabled: true, desiredMinTxInterval: '100ms', requiredMinRxInterval: '0.2s' } };
    expect(only(map(nodes + vip('edge', spec)))).toMatchObject({
      mode: 'bgp',
      bgp: {
        speakers: [
          { node: 'node-a', localAs: 64513, routerId: '192.0.2.1' },
          { node: 'node-b', localAs: 64513, routerId: '192.0.2.2' },
        ],
        peers: [{ address: '192.0.2.254', as: 64512, port: 179, ttlSecurity: false }],
        communities: [],
      },
      bfd: { txIntervalMs: 100, rxIntervalMs: 200, multiplier: 3 },
    });
  });

  it('stands with a field that is not known, and says so', () => {
    const peers = [{ ...bgp.bgpConfig.peers[0], asn: 64512 }];
    const text =
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, peers }, port: [80] }) + pool('lab', { cidr: [] });
    const mapped = map(nodes + text);
    expect(mapped.state.vips).toHaveLength(1);
    expect(mapped.problems.map(({ severity, field, got }) => `${severity} ${field}: ${got}`)).toEqual([
      'warning spec.cidr: cidr',
      'warning spec.bgpConfig.peers[0].asn: asn',
      'warning spec.port: port',
    ]);
    expect(lines(mapped)[2]).toMatch(/expected one of the fields address, ipv6Address, mode, .*ports/);
  });

  it('has the router ID of the manifest where one node announces it', () => {
    const labelled = nodes.replace('name: node-b,', 'name: node-b, labels: { edge: "yes" },');
    const nodeSelector = { matchLabels: { edge: 'yes' } };
    expect(only(map(labelled + vip('edge', { ...bgp, nodeSelector })))?.bgp?.speakers).toEqual([
      { node: 'node-b', localAs: 64513, routerId: '192.0.2.250' },
    ]);
  });

  it('gives each node an AS number of its own from a base', () => {
    const { localAS: _, ...rest } = bgp.bgpConfig;
    const spec = { ...bgp, bgpConfig: { ...rest, localASBase: 65000 } };
    expect(only(map(nodes + vip('edge', spec)))?.bgp?.speakers.map(({ localAs }) => localAs)).toEqual([65001, 65002]);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['an unknown mode', vip('edge', { ...l2, mode: 'OSPF' }), /spec\.mode: expected L2ARP or BGP, got "OSPF"/],
    ['no address', vip('edge', { mode: 'L2ARP', ports: [80] }), /expected an IPv4 address, or a poolRef, got nothing/],
    ['a network', vip('edge', { ...l2, address: '203.0.113.0/24' }), /spec\.address: expected one IP address/],
    ['a multicast address', vip('edge', { ...l2, address: '224.0.0.5' }), /spec\.address: expected one IP address/],
    ['a loopback address', vip('edge', { ...l2, address: '127.0.0.1' }), /spec\.address: expected one IP address/],
    [
      'an IPv4 address as ipv6Address',
      vip('edge', { ...l2, ipv6Address: '203.0.113.9' }),
      /ipv6Address: expected one IPv6/,
    ],
    [
      'a family that is missing',
      vip('edge', { ...l2, addressFamily: 'dual' }),
      /expected an IPv6 address, or a poolRef/,
    ],
    ['a node’s address', vip('edge', { ...l2, address: '192.0.2.1' }), /192\.0\.2\.1, which belongs to node node-a/],
    ['a pod’s address', pod('x', '10.0.0.1') + vip('edge', { ...l2, address: '10.0.0.1' }), /belongs to pod shop\/x/],
    ['too few nodes', vip('edge', { ...l2, healthPolicy: { minHealthyNodes: 3 } }), /expected at least 3 nodes/],
    ['no node', vip('edge', { ...l2, nodeSelector: { matchLabels: { no: 'such' } } }), /expected at least 1 node that/],
    ['a bad interface', vip('edge', { ...l2, interface: 'a b' }), /spec\.interface: expected the name/],
    ['BGP without configuration', vip('edge', { ...bgp, bgpConfig: undefined }), /expected bgpConfig/],
    [
      'no AS',
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, localAS: undefined } }),
      /localAS: expected an AS number/,
    ],
    [
      'no router',
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, peers: [] } }),
      /peers: expected at least one router/,
    ],
    [
      'a router twice',
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, peers: [...bgp.bgpConfig.peers, ...bgp.bgpConfig.peers] } }),
      /every router once/,
    ],
    [
      'a password in the manifest',
      vip('edge', {
        ...bgp,
        bgpConfig: { ...bgp.bgpConfig, peers: [{ address: '192.0.2.254', as: 1, password: 'hush' }] },
      }),
      /password: expected no secret in a manifest, got one/,
    ],
    [
      'a bad community',
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, communities: ['65536:1'] } }),
      /communities\[0\]: expected a community/,
    ],
    ['a bad BFD interval', vip('edge', { ...bgp, bfd: { enabled: true, desiredMinTxInterval: '3ms' } }), /10ms to 60s/],
    ['a pool that is not there', vip('edge', { mode: 'L2ARP', poolRef: { name: 'x' } }), /name of a ProxyIPPool/],
    ['a malformed field', vip('edge', { ...l2, ports: [70_000] }), /expected a port from 1 to 65535, got 70000/],
    [
      'an AS out of range',
      vip('edge', { ...bgp, bgpConfig: { ...bgp.bgpConfig, localAS: 0 } }),
      /a number from 1 to 4294967295/,
    ],
  ];
  it.each(refused)('is left out and reported with %s', (_, text, expected) => {
    const mapped = map(nodes + text + vip('other', { ...l2, address: '203.0.113.99' }));
    expect(lines(mapped)).toEqual([expect.stringMatching(expected)]);
    expect(lines(mapped)[0]).not.toContain('hush');
    expect(mapped.state.vips.map(({ name }) => name)).toEqual(['other']);
  });

  it('that takes another one’s address is left out, the first by name stays', () => {
    const mapped = map(nodes + vip('b', l2) + vip('a', l2));
    expect(mapped.state.vips.map(({ name }) => name)).toEqual(['a']);
    expect(lines(mapped)).toEqual([expect.stringMatching(/203\.0\.113\.10, which belongs to ProxyVIP a/)]);
  });

  it('that contradicts another one about a speaker or a router is left out', () => {
    const other = { ...bgp, address: '203.0.113.21' };
    const anotherAs = { ...other, bgpConfig: { ...bgp.bgpConfig, localAS: 64999 } };
    expect(lines(map(nodes + vip('a', bgp) + vip('b', anotherAs)))).toEqual([
      expect.stringMatching(/AS 64999 for node node-a, which is AS 64513 for ProxyVIP a/),
    ]);
    const anotherPeer = { ...other, bgpConfig: { ...bgp.bgpConfig, peers: [{ address: '192.0.2.254', as: 1 }] } };
    expect(lines(map(nodes + vip('a', bgp) + vip('b', anotherPeer)))).toEqual([
      expect.stringMatching(/another description of router 192\.0\.2\.254 than ProxyVIP a has/),
    ]);
    expect(map(nodes + vip('a', bgp) + vip('b', other)).state.vips).toHaveLength(2);
  });

  it('whose AS numbers from a base would collide is left out', () => {
    const { localAS: _, ...rest } = bgp.bgpConfig;
    const far = nodes.replace('192.0.2.2', '198.51.100.1');
    expect(lines(map(far + vip('edge', { ...bgp, bgpConfig: { ...rest, localASBase: 65000 } })))).toEqual([
      expect.stringMatching(/AS 65001 for node-a and node-b, whose addresses end alike/),
    ]);
  });

  it('leads nowhere at a port that two services claim, and says so', () => {
    const claims = (name: string, clusterIP: string): string =>
      service(name, { clusterIP, ports: [{ port: 80 }] }, { 'novaedge.io/vip-ref': 'edge' });
    const mapped = map(nodes + claims('x', '10.96.0.1') + claims('y', '10.96.0.2') + vip('edge', l2));
    expect(mapped.state.vips[0]?.targets).toEqual([]);
    expect(lines(mapped)).toEqual([expect.stringMatching(/80, which shop\/x has/)]);
  });

  it('of a service that names none, or shares no port, is reported at the service', () => {
    const wrong = service('x', { clusterIP: '10.96.0.1', ports: [{ port: 80 }] }, { 'novaedge.io/vip-ref': 'nope' });
    expect(lines(map(nodes + wrong))).toEqual([
      expect.stringMatching(/Service shop\/x: .*expected the name of a ProxyVIP/),
    ]);
    const other = service('x', { clusterIP: '10.96.0.1', ports: [{ port: 81 }] }, { 'novaedge.io/vip-ref': 'edge' });
    expect(lines(map(nodes + other + vip('edge', l2)))).toEqual([
      expect.stringMatching(/expected a TCP port that ProxyVIP edge has too/),
    ]);
  });
});

describe('ProxyIPPool', () => {
  const blocks = pool('pool', { cidrs: ['203.0.113.0/29', '2001:db8:1::/64'] });
  const pooled = { mode: 'L2ARP', ports: [80], poolRef: { name: 'pool' } };
  const addressesOf = ({ state }: MappedState) =>
    Object.fromEntries(state.vips.map((each) => [each.name, each.addresses]));

  it('gives each VIP an address, or one of each family', () => {
    const mapped = map(nodes + blocks + vip('b', pooled) + vip('a', { ...pooled, addressFamily: 'dual' }));
    expect(lines(mapped)).toEqual([]);
    expect(addressesOf(mapped)).toEqual({ a: ['203.0.113.1', '2001:db8:1::1'], b: ['203.0.113.2'] });
  });

  it('gives no address that a VIP, a node or a service has', () => {
    const named = vip('named', { ...l2, address: '203.0.113.1' });
    const cluster = service('x', { clusterIP: '203.0.113.2', ports: [{ port: 80 }] });
    expect(addressesOf(map(nodes + blocks + named + cluster + vip('z', pooled)))['z']).toEqual(['203.0.113.3']);
  });

  it('moves nothing when VIPs come and go, given what was decided before', () => {
    const first = map(nodes + blocks + vip('m', pooled) + vip('n', pooled));
    const memory = { poolAllocations: first.poolAllocations };
    const second = map(nodes + blocks + vip('a', pooled) + vip('n', pooled), memory);
    expect(addressesOf(first)).toEqual({ m: ['203.0.113.1'], n: ['203.0.113.2'] });
    expect(addressesOf(second)).toEqual({ a: ['203.0.113.1'], n: ['203.0.113.2'] });
  });

  it('keeps to what a status says was given', () => {
    const status = { allocatedAddress: '203.0.113.5/32' };
    expect(addressesOf(map(nodes + blocks + vip('a', pooled, { status })))['a']).toEqual(['203.0.113.5']);
  });

  it('that is exhausted leaves out the last by name', () => {
    const text = nodes + pool('pool', { addresses: ['203.0.113.1/32'] }) + vip('a', pooled) + vip('b', pooled);
    expect(addressesOf(map(text))).toEqual({ a: ['203.0.113.1'] });
    expect(lines(map(text))).toEqual([
      expect.stringMatching(/ProxyVIP b: .*free IPv4 address in ProxyIPPool pool, got none/),
    ]);
  });

  it('reports what it cannot read, and overlaps', () => {
    const bad = pool('pool', { cidrs: ['203.0.113.1/29'], addresses: ['203.0.113.0/29', 'x'] });
    expect(lines(map(nodes + bad))).toHaveLength(3);
    expect(lines(map(nodes + blocks + pool('other', { addresses: ['203.0.113.3'] })))).toEqual([
      expect.stringMatching(/overlaps/),
    ]);
  });
});
