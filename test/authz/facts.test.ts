/** What a request is turned into, against the obvious way of doing it. */
import { BlockList, isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuthzEngine } from '../../src/authz/index.js';
import type { AuthzRequest } from '../../src/authz/index.js';
import { IpBlockMatcher, IpWords, parseIpWords } from '../../src/authz/ip-match.js';
import { tryParseIp } from '../../src/core/index.js';

describe('addresses', () => {
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4().map((ip) => `::ffff:${ip}`),
    fc.stringMatching(/^[0-9a-f:.]{0,12}$/),
    fc.constantFrom('', '01.2.3.4', '1.2.3', '256.1.1.1', '1.2.3.4 ', '::1%eth0', '0.0.0.0', '255.255.255.255'),
  );

  it('are addresses exactly when core says so', () => {
    const into = new IpWords();
    fc.assert(
      fc.property(text, (ip) => {
        expect(parseIpWords(ip, into)).toBe(tryParseIp(ip) !== undefined);
      }),
      { numRuns: 5_000 },
    );
  });

  it('are in the blocks in which node:net finds them, whatever was parsed before', () => {
    const into = new IpWords();
    const block = fc.oneof(
      fc.tuple(fc.ipV4(), fc.nat({ max: 32 })).map(([ip, length]) => `${ip}/${String(length)}`),
      fc.tuple(fc.ipV6(), fc.nat({ max: 128 })).map(([ip, length]) => `${ip}/${String(length)}`),
      fc.constantFrom('0.0.0.0/0', '::/0', '128.0.0.0/1', '8000::/1'),
    );
    fc.assert(
      fc.property(text, fc.array(block, { minLength: 1, maxLength: 4 }), (ip, blocks) => {
        const parsed = tryParseIp(ip);
        if (parsed === undefined) return;
        expect(parseIpWords(ip, into)).toBe(true);
        const family = isIP(parsed) === 4 ? 'ipv4' : 'ipv6';
        const list = new BlockList();
        for (const each of blocks) {
          const [address = '', length] = each.split('/');
          // An IPv4-mapped address in a block is IPv4, and so are its last bits alone.
          if (/^::ffff:[^:]+:[^:]+$/.test(tryParseIp(address) ?? '')) return;
          if ((isIP(address) === 4 ? 'ipv4' : 'ipv6') === family) list.addSubnet(address, Number(length), family);
        }
        expect(new IpBlockMatcher(blocks).test(into)).toBe(list.check(parsed, family));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('one engine, request after request', () => {
  const rules = [
    { to: [{ paths: ['/a/**'] }], from: [{ ipBlocks: ['10.0.0.0/8'] }] },
    ...['b', 'c', 'd', 'e', 'f', 'g'].map((head) => ({ to: [{ paths: [`/${head}/x`], hosts: [`${head}.example`] }] })),
    {
      to: [
        {
          headers: [
            { name: 'X-A', values: ['1'] },
            { name: 'x-b', values: ['2'] },
          ],
        },
      ],
    },
  ];
  const manifest = {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'api' }, action: 'ALLOW', rules },
  };
  const header = fc.constantFrom('x-a', 'X-A', 'x-b', 'X-B', 'other');
  const request = fc.record({
    source: fc.record({ ip: fc.constantFrom('10.1.2.3', '11.0.0.1', 'fd00::1', 'x', undefined) }),
    destination: fc.constant({ namespace: 'shop', services: ['api'] }),
    http: fc.option(
      fc.record({
        method: fc.constant('GET'),
        path: fc
          .tuple(fc.constantFrom('a', 'b', 'c', 'bb', 'ab', ''), fc.constantFrom('', '/x', '/y', '/'))
          .map(([head, rest]) => `/${head}${rest}`),
        host: fc.constantFrom(undefined, 'b.example', 'C.Example', 'bb.example'),
        headers: fc.oneof(
          fc.dictionary(header, fc.constantFrom('1', '2', ['1'], []), { maxKeys: 4 }),
          fc.dictionary(header, fc.constantFrom('1', '2'), { maxKeys: 3 }).map((some) => ({
            ...Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`h-${String(index)}`, '1'])),
            ...some,
          })),
        ),
      }),
      { nil: undefined },
    ),
  }) as fc.Arbitrary<AuthzRequest>;

  it('nothing of one request is left for the next', () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 2, maxLength: 12 }), (asked) => {
        const engine = AuthzEngine.compile([manifest]);
        for (const each of asked)
          expect(engine.authorize(each)).toEqual(AuthzEngine.compile([manifest]).authorize(each));
      }),
      { numRuns: 400 },
    );
  });
});

describe('a destination of many services', () => {
  it('has the policies of each, once', () => {
    const services = Array.from({ length: 40 }, (_, index) => `s${String(index)}`);
    const engine = AuthzEngine.compile(
      services.map((name, index) => ({
        apiVersion: 'novaedge.io/v1alpha1',
        kind: 'ProxyPolicy',
        metadata: { name, namespace: 'shop' },
        spec: {
          type: 'MeshAuthorization',
          targetRef: { kind: 'Service', name },
          action: 'DENY',
          rules: [{ to: [{ ports: [1000 + index] }] }],
        },
      })),
    );
    const at = (port: number): AuthzRequest => ({
      source: {},
      destination: { namespace: 'shop', services: [...services, ...services.map((name) => `shop/${name}`)], port },
    });
    for (let index = 0; index < 40; index += 1) expect(engine.authorize(at(1000 + index)).allowed).toBe(false);
    expect(engine.authorize(at(1)).allowed).toBe(true);
    expect(engine.explain(at(1)).considered).toHaveLength(40);
    const one: AuthzRequest = { source: {}, destination: { namespace: 'shop', services: ['s3'], port: 1004 } };
    expect(engine.authorize(one).allowed).toBe(true);
  });
});
