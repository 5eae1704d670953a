import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { CaClient, SpiffeCA, caRoutes, createCsr, joinMethodPath } from 'meshwright/ca';
import type { CaEvent, CaPeer, CaRoutesOptions, JoinTokens, WorkloadRegistry } from 'meshwright/ca';
import { SpiffeId, keyThumbprint, verifyWorkloadToken, verifyX509Svid } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { CaService } from '../../src/ca/gen/ca_pb.js';
import { agent, codeOf, p256, recordingLogger, workload } from './support.js';
import type { LogLine } from './support.js';

const registry: WorkloadRegistry = { runsOn: (node, id) => node === 'node-a' && id.toString() === workload };
const nodeA: CaPeer = { spiffeId: SpiffeId.parse(agent), keyThumbprint: keyThumbprint(p256().publicKey) };

interface Setup {
  readonly ca: SpiffeCA;
  readonly joinTokens: JoinTokens;
  readonly clock: FakeClock;
  readonly lines: LogLine[];
  readonly events: CaEvent[];
  /** A client that the server takes for `peer`. */
  as(peer: CaPeer | undefined): CaClient;
}

async function setup(options: Partial<CaRoutesOptions> = {}): Promise<Setup> {
  const clock = new FakeClock();
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
  const joinTokens = await ca.joinTokens();
  const { logger, lines } = recordingLogger();
  const events: CaEvent[] = [];
  const tokens = ca.tokens({ registry });
  const common = { ca, tokens, joinTokens, clock, logger, observer: (event: CaEvent) => void events.push(event) };
  const as = (peer: CaPeer | undefined): CaClient => {
    const transport = createRouterTransport(caRoutes({ ...common, peerOf: () => peer, ...options }));
    return new CaClient({ transport, trustDomain: ca.trustDomain });
  };
  return { ca, joinTokens, clock, lines, events, as };
}

const newCsr = (): Promise<Uint8Array> => createCsr(p256().privateKey);

describe('Join', () => {
  it('gives the SVID of the token’s node, and the bundle', async () => {
    const { as, ca, joinTokens, clock } = await setup({ svidTtlMs: 5000 });
    const { token } = await joinTokens.create({ node: 'node-a' });
    const grant = await as(undefined).join({ token, csr: await newCsr() });
    const { spiffeId, notAfter } = verifyX509Svid({ ...grant, now: clock.now() });
    expect(spiffeId.toString()).toBe(agent);
    expect(notAfter.getTime()).toBe(clock.now() + 5000);
    expect(grant.bundle.equals(ca.bundle.current)).toBe(true);
  });

  it('refuses each bad token by its own code, in the log and to the caller', async () => {
    const { as, joinTokens, clock, lines, events } = await setup();
    const used = await joinTokens.create({ node: 'node-a' });
    await joinTokens.redeem(used.token);
    const expired = await joinTokens.create({ node: 'node-b', ttlMs: 1000 });
    clock.advance(1000);
    const cases = [
      [used.token, 'CA_JOIN_TOKEN_USED', 'node-a'],
      [expired.token, 'CA_JOIN_TOKEN_EXPIRED', 'node-b'],
      ['nonsense', 'CA_JOIN_TOKEN_UNKNOWN', undefined],
    ] as const;
    for (const [token, code, node] of cases) {
      lines.length = 0;
      events.length = 0;
      const csr = await newCsr();
      expect(await codeOf(() => as(undefined).join({ token, csr }))).toBe(code);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatchObject({ level: 'warn', fields: { operation: 'join', code, node } });
      expect(events).toEqual([expect.objectContaining({ type: 'ca-refused', operation: 'join', code, node })]);
      expect(JSON.stringify([lines, events])).not.toContain(token.split('.')[1] ?? token);
    }
  });

  it('does not use a token up for a request that is no good', async () => {
    const { as, joinTokens } = await setup();
    const { token } = await joinTokens.create({ node: 'node-a' });
    const csr = Uint8Array.of(1, 2, 3);
    expect(await codeOf(() => as(undefined).join({ token, csr }))).toBe('CA_CSR_MALFORMED');
    await as(undefined).join({ token, csr: await newCsr() });
  });

  it('is not there without join tokens', async () => {
    const { as, joinTokens } = await setup({ joinTokens: undefined });
    const { token } = await joinTokens.create({ node: 'node-a' });
    const csr = await newCsr();
    expect(await codeOf(() => as(undefined).join({ token, csr }))).toBe('CA_JOIN_TOKEN_UNKNOWN');
  });

  it('is the path that the server leaves open', () => {
    expect(joinMethodPath).toBe('/meshwright.ca.v1.CaService/Join');
  });
});

describe('calls that need an agent', () => {
  const calls: readonly (readonly [string, (client: CaClient) => Promise<unknown>])[] = [
    ['Renew', async (client) => client.renew({ csr: await newCsr() })],
    ['IssueWorkloadToken', (client) => client.issueWorkloadToken(SpiffeId.parse(workload))],
    ['WatchBundle', (client) => client.watchBundle().next()],
  ];

  it.each(calls)('%s refuses who is none', async (_, call) => {
    const { as, lines } = await setup();
    expect(await codeOf(() => call(as(undefined)))).toBe('CA_UNAUTHENTICATED');
    for (const id of [
      'spiffe://cluster.local/controller',
      'spiffe://cluster.local/ns/shop/sa/web',
      'spiffe://cluster.local/agent/node-a/more',
      'spiffe://other.local/agent/node-a',
    ]) {
      const peer = { ...nodeA, spiffeId: SpiffeId.parse(id) };
      expect(await codeOf(() => call(as(peer)))).toBe('CA_NOT_AN_AGENT');
      expect(lines.at(-1)?.fields).toMatchObject({ code: 'CA_NOT_AN_AGENT' });
    }
  });

  it('Renew gives the same identity with the new key', async () => {
    const { as, clock } = await setup();
    const { privateKey, publicKey } = p256();
    const grant = await as(nodeA).renew({ csr: await createCsr(privateKey) });
    const verified = verifyX509Svid({ ...grant, now: clock.now() });
    expect(verified.spiffeId.toString()).toBe(agent);
    expect(verified.publicKey.equals(publicKey)).toBe(true);
  });

  it('Renew warns when the CA’s own end cuts a certificate short', async () => {
    const { as, ca, clock, lines } = await setup();
    await as(nodeA).renew({ csr: await newCsr() });
    expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
    const end = ca.externalRoot.status.notAfter;
    clock.advance(end.getTime() - clock.now() - 3_600_000);
    await as(nodeA).renew({ csr: await newCsr() });
    expect(lines.at(-1)).toMatchObject({ level: 'warn', fields: { ca_ends: end.toISOString() } });
  });

  it('IssueWorkloadToken binds to the node and key of the connection', async () => {
    const { as, ca, clock } = await setup();
    const { token, expiresAt } = await as(nodeA).issueWorkloadToken(SpiffeId.parse(workload));
    const verified = await verifyWorkloadToken(token, {
      bundle: ca.bundle.current,
      audience: 'meshwright-tunnel',
      now: clock.now(),
      node: 'node-a',
      keyThumbprint: nodeA.keyThumbprint,
    });
    expect(verified.expiresAt).toEqual(expiresAt);
  });

  it('IssueWorkloadToken refuses workloads of other nodes, with the reason', async () => {
    const { as, lines } = await setup();
    const nodeB = { ...nodeA, spiffeId: SpiffeId.parse('spiffe://cluster.local/agent/node-b') };
    const id = SpiffeId.parse(workload);
    await expect(as(nodeB).issueWorkloadToken(id)).rejects.toThrow(`${workload} does not run on node node-b`);
    expect(lines.at(-1)).toMatchObject({
      level: 'warn',
      message: 'certificate request refused',
      fields: { node: 'node-b', code: 'CA_WORKLOAD_NOT_ON_NODE', reason: `${workload} does not run on node node-b` },
    });
  });

  it('renew no certificate of a node that is not part of the mesh', async () => {
    const known = new Set(['node-a']);
    const { as, lines } = await setup({ knowsNode: (node) => known.has(node) });
    await as(nodeA).renew({ csr: await newCsr() });
    known.clear();
    const csr = await newCsr();
    expect(await codeOf(() => as(nodeA).renew({ csr }))).toBe('CA_NODE_UNKNOWN');
    expect(lines.at(-1)).toMatchObject({ level: 'warn', fields: { operation: 'renew', code: 'CA_NODE_UNKNOWN' } });
  });

  it('limit each node by itself', async () => {
    const limits = { svid: { burst: 2, perSecond: 1 }, workloadToken: { burst: 1, perSecond: 1 } };
    const { ca, clock, as: make } = await setup();
    void make;
    const peer: { current: CaPeer } = { current: nodeA };
    const transport = createRouterTransport(
      caRoutes({ ca, tokens: ca.tokens({ registry }), peerOf: () => peer.current, clock, limits }),
    );
    const client = new CaClient({ transport, trustDomain: ca.trustDomain });
    const csr = await newCsr();
    await client.renew({ csr });
    await client.renew({ csr });
    expect(await codeOf(() => client.renew({ csr }))).toBe('CA_RATE_LIMITED');
    await client.issueWorkloadToken(SpiffeId.parse(workload));
    expect(await codeOf(() => client.issueWorkloadToken(SpiffeId.parse(workload)))).toBe('CA_RATE_LIMITED');
    peer.current = { ...nodeA, spiffeId: SpiffeId.parse('spiffe://cluster.local/agent/node-b') };
    await client.renew({ csr });
    peer.current = nodeA;
    clock.advance(1000);
    await client.renew({ csr });
  });

  it('WatchBundle sends the bundle at once, and ends when the reader leaves', async () => {
    const { as, ca } = await setup();
    for await (const bundle of as(nodeA).watchBundle()) {
      expect(bundle.equals(ca.bundle.current)).toBe(true);
      break;
    }
  });
});

describe('failures inside the CA', () => {
  it('are not explained to the caller, but are in the log', async () => {
    const { as, ca, lines } = await setup();
    const broken = {
      ...ca,
      trustDomain: ca.trustDomain,
      record: () => Promise.resolve(),
      issueX509Svid: () => Promise.reject(new Error('secret detail')),
    };
    const { as: asBroken, lines: brokenLines } = await setup({ ca: broken as unknown as SpiffeCA });
    void as;
    void lines;
    const error: unknown = await asBroken(nodeA)
      .renew({ csr: await newCsr() })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'CA_INTERNAL' });
    expect(String(error)).not.toContain('secret detail');
    expect(brokenLines.at(-1)).toMatchObject({ level: 'error', fields: { code: 'CA_INTERNAL' } });
    expect(String(brokenLines.at(-1)?.fields['reason'])).toContain('secret detail');
  });
});

describe('CaClient', () => {
  const answering = (code: Code, metadata: Record<string, string> = {}): CaClient => {
    const transport = createRouterTransport(({ service }) => {
      service(CaService, {
        renew: () => {
          throw new ConnectError('no', code, metadata);
        },
      });
    });
    return new CaClient({ transport, trustDomain: SpiffeId.parse(agent).trustDomain });
  };

  it.each([
    [Code.Unavailable, {}, 'CA_UNAVAILABLE'],
    [Code.DeadlineExceeded, {}, 'CA_UNAVAILABLE'],
    [Code.Unauthenticated, {}, 'CA_UNAUTHENTICATED'],
    [Code.PermissionDenied, { 'meshwright-error-code': 'CA_NOT_AN_AGENT' }, 'CA_NOT_AN_AGENT'],
    [Code.PermissionDenied, { 'meshwright-error-code': 'toString' }, 'CA_UNAVAILABLE'],
  ] as const)('takes status %s with %o for %s', async (status, metadata, code) => {
    const csr = await newCsr();
    expect(await codeOf(() => answering(status, metadata).renew({ csr }))).toBe(code);
  });

  it.each([
    ['no certificate', { bundle: '{"keys":[]}' }],
    ['an empty chain', { svid: { certificates: [] }, bundle: '{"keys":[]}' }],
    ['no bundle', { svid: { certificates: [Uint8Array.of(1)] } }],
    [
      'a broken bundle',
      { svid: { certificates: [Uint8Array.of(1)] }, bundle: '{"keys":[{"kty":"EC","use":"x509-svid"}]}' },
    ],
  ])('refuses an answer with %s', async (_, answer) => {
    const transport = createRouterTransport(({ service }) => {
      service(CaService, { renew: () => answer });
    });
    const client = new CaClient({ transport, trustDomain: SpiffeId.parse(agent).trustDomain });
    const csr = await newCsr();
    expect(await codeOf(() => client.renew({ csr }))).toBe('CA_RESPONSE_INVALID');
  });
});
