import type { KeyObject } from 'node:crypto';
import { createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { CaClient, SpiffeCA, caRoutes, createCsr, kubernetesTokenAttestor, memoryStore } from 'meshwright/ca';
import type { AuditEntry, CaRoutesOptions, KubernetesTokenAttestorOptions } from 'meshwright/ca';
import { verifyX509Svid } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { codeOf, p256, recordingLogger } from '../support.js';
import type { LogLine } from '../support.js';
import { claimsOf, fakeCluster, jwkOf, mint, policy, signingKey, username } from './fake-cluster.js';
import type { FakeCluster, Review } from './fake-cluster.js';

interface Setup {
  readonly cluster: FakeCluster;
  readonly ca: SpiffeCA;
  readonly clock: FakeClock;
  readonly lines: LogLine[];
  readonly audit: AuditEntry[];
  /** A fresh token of node's agent, by the cluster's first key. */
  token(node?: string): string;
  /** With a new key each time, unless one is given. */
  join(token: string, privateKey?: KeyObject): Promise<string>;
}

interface SetupOptions {
  readonly cluster?: FakeCluster;
  readonly attestor?: Partial<KubernetesTokenAttestorOptions>;
  readonly routes?: Partial<CaRoutesOptions>;
}

async function setup(options: SetupOptions = {}): Promise<Setup> {
  const cluster = options.cluster ?? (await fakeCluster({ tls: false }));
  const clock = new FakeClock({ start: Date.now() });
  const { logger, lines } = recordingLogger();
  const audit: AuditEntry[] = [];
  const ca = await SpiffeCA.create({
    trustDomain: 'cluster.local',
    clock,
    audit: { append: (entry) => Promise.resolve(void audit.push(entry)), close: () => Promise.resolve() },
  });
  const attestor = kubernetesTokenAttestor({
    ...policy,
    server: { url: cluster.url, ca: cluster.ca, bearerToken: cluster.bearerToken },
    used: await ca.usedEvidence(),
    clock,
    logger,
    ...options.attestor,
  });
  const tokens = ca.tokens({ registry: { runsOn: () => true } });
  const transport = createRouterTransport(
    caRoutes({ ca, tokens, attestors: [attestor], peerOf: () => undefined, clock, logger, ...options.routes }),
  );
  const client = new CaClient({ transport, trustDomain: ca.trustDomain });
  return {
    cluster,
    ca,
    clock,
    lines,
    audit,
    token: (node = 'node-a') => mint(cluster.keys[0] ?? signingKey('none'), claimsOf(node, clock.now())),
    join: async (value, privateKey = p256().privateKey) => {
      const csr = await createCsr(privateKey);
      const grant = await client.attest({ evidence: { type: 'kubernetes-token', value }, csr });
      return verifyX509Svid({ ...grant, now: clock.now() }).spiffeId.toString();
    },
  };
}

const unavailable = 'CA_ATTESTATION_UNAVAILABLE';
const reviews = ({ requests }: FakeCluster): number => requests.filter(({ body }) => body !== '').length;
const keyLoads = ({ requests }: FakeCluster): number => requests.filter(({ path }) => path.endsWith('/jwks')).length;

describe('joining with a Kubernetes token', () => {
  it('over HTTPS gives the SVID of the token’s node, after a review that names our audience', async () => {
    const cluster = await fakeCluster();
    const { token, join, audit, lines } = await setup({
      cluster,
      attestor: {
        server: {
          url: cluster.url,
          ca: cluster.ca,
          bearerToken: () => Promise.resolve(` ${cluster.bearerToken}\n`),
        },
      },
    });
    const value = token();
    expect(await join(value)).toBe('spiffe://cluster.local/agent/node-a');
    expect(cluster.requests.map(({ path }) => path)).toEqual([
      '/openid/v1/jwks',
      '/apis/authentication.k8s.io/v1/tokenreviews',
    ]);
    expect(cluster.requests.map(({ authorization }) => authorization)).toEqual(
      Array(2).fill(`Bearer ${cluster.bearerToken}`),
    );
    expect(JSON.parse(cluster.requests[1]?.body ?? '')).toEqual({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: value, audiences: [policy.audience] },
    });
    const who = 'Kubernetes token of pod mesh-system/agent-node-a (pod-uid-node-a) on node node-a (node-uid-node-a)';
    expect(audit.at(-1)).toMatchObject({ event: 'issued', who, subject: 'spiffe://cluster.local/agent/node-a' });
    expect(lines.at(-1)).toMatchObject({ message: 'node joined', fields: { node: 'node-a', by: 'kubernetes-token' } });
    expect(JSON.stringify([lines, audit])).not.toContain(value.split('.')[1]);
  });

  it('takes no certificate of the API server but one of the authority that was given', async () => {
    const cluster = await fakeCluster();
    const other = await fakeCluster();
    for (const ca of [other.ca, undefined]) {
      const { token, join, lines } = await setup({ cluster, attestor: { server: { url: cluster.url, ca } } });
      expect(await codeOf(() => join(token()))).toBe(unavailable);
      expect(String(lines.at(-1)?.fields['reason'])).toMatch(/certificate/);
    }
    expect(cluster.requests).toEqual([]);
  });

  it('takes each token once, in any form of its signature, also over a restart and for two at a time', async () => {
    const { token, join, cluster, clock, audit } = await setup();
    const value = token();
    const outcomes = await Promise.allSettled([join(value), join(value)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await codeOf(() => join(value))).toBe('CA_KUBERNETES_TOKEN_USED');
    expect(audit.at(-1)).toMatchObject({ event: 'refused', node: 'node-a', code: 'CA_KUBERNETES_TOKEN_USED' });
    expect(JSON.stringify(audit)).not.toContain(value.split('.')[2]);
    // The other signature of ECDSA: n - s in place of s.
    const [header = '', payload = '', signature = ''] = value.split('.');
    const raw = Buffer.from(signature, 'base64url');
    const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = n - BigInt(`0x${raw.subarray(32).toString('hex')}`);
    const twin = Buffer.concat([raw.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
    const malleated = `${header}.${payload}.${twin.toString('base64url')}`;
    expect(await codeOf(() => join(malleated))).toBe('CA_KUBERNETES_TOKEN_USED');

    const store = memoryStore();
    const first = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, store });
    const again = await setup({ cluster, attestor: { used: await first.usedEvidence(), clock } });
    const kept = again.token();
    await again.join(kept);
    await first.close();
    await using second = await SpiffeCA.open({ store, clock });
    const restarted = await setup({ cluster, attestor: { used: await second.usedEvidence(), clock } });
    expect(await codeOf(() => restarted.join(kept))).toBe('CA_KUBERNETES_TOKEN_USED');
  });

  it('takes a token again for the key that it was used for: the answer may have been lost', async () => {
    const { token, join, cluster } = await setup();
    const [{ privateKey }, other] = [p256(), p256()];
    const value = token();
    await join(value, privateKey);
    expect(await join(value, privateKey)).toBe('spiffe://cluster.local/agent/node-a');
    expect(reviews(cluster)).toBe(2);
    expect(await codeOf(() => join(value, other.privateKey))).toBe('CA_KUBERNETES_TOKEN_USED');
  });

  it('takes a token as often as it comes where that was chosen', async () => {
    const { token, join } = await setup({ attestor: { singleUse: false } });
    const value = token();
    await join(value);
    expect(await join(value)).toBe('spiffe://cluster.local/agent/node-a');
  });

  it('does not use a token up for a request that is no good', async () => {
    const { cluster, ca, token, join, lines } = await setup();
    await ca.denyList.deny({ kind: 'node', value: 'node-a' });
    const value = token();
    expect(await codeOf(() => join(value))).toBe('CA_DENIED');
    expect(reviews(cluster)).toBe(0);
    await ca.denyList.allow({ kind: 'node', value: 'node-a' });
    expect(await join(value)).toBe('spiffe://cluster.local/agent/node-a');
    expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('is for nodes of the mesh only, and for each no more often than others may', async () => {
    const { cluster, token, join } = await setup({
      routes: {
        knowsNode: (node) => node !== 'node-x',
        limits: { svid: { burst: 2, perSecond: 0.001 } },
      },
    });
    expect(await codeOf(() => join(token('node-x')))).toBe('CA_NODE_UNKNOWN');
    expect(reviews(cluster)).toBe(0);
    await join(token());
    await join(token());
    expect(await codeOf(() => join(token()))).toBe('CA_RATE_LIMITED');
    expect(reviews(cluster)).toBe(2);
    expect(await join(token('node-b'))).toBe('spiffe://cluster.local/agent/node-b');
  });

  it.each(['a/b', '..', 'node a', 'controller/../x'])('never makes another ID of the node name %j', async (name) => {
    const { token, join } = await setup();
    expect(await codeOf(() => join(token(name)))).toBe('CA_ATTESTATION_REFUSED');
  });

  it('is refused by its own code where there is no such attestor, or two kinds of evidence come', async () => {
    const { token, join } = await setup({ routes: { attestors: [] } });
    expect(await codeOf(() => join(token()))).toBe('CA_ATTESTATION_UNKNOWN');
  });

  it('is refused when one node used more tokens than can be remembered', async () => {
    const { token, join } = await setup({ routes: { limits: { svid: { burst: 1000, perSecond: 1 } } } });
    for (let count = 0; count < 100; count += 1) await join(token());
    expect(await codeOf(() => join(token()))).toBe('CA_ATTESTATION_LIMIT');
    expect(await join(token('node-b'))).toBe('spiffe://cluster.local/agent/node-b');
  });
});

describe('the issuer’s keys', () => {
  it('are loaded once, and again for a key that is new, but never more often than the limit', async () => {
    const { cluster, clock, token, join } = await setup();
    await join(token());
    await join(token());
    expect(keyLoads(cluster)).toBe(1);
    cluster.keys = [signingKey('key-2'), ...cluster.keys];
    // Too early to ask again: whether the key exists is not known, so the agent tries later.
    expect(await codeOf(() => join(token()))).toBe(unavailable);
    expect(keyLoads(cluster)).toBe(1);
    clock.advance(10_000);
    expect(await join(token())).toBe('spiffe://cluster.local/agent/node-a');
    expect(keyLoads(cluster)).toBe(2);
    clock.advance(10_000);
    const unknown = mint(signingKey('key-3'), claimsOf('node-a', clock.now()));
    expect(await codeOf(() => join(unknown))).toBe('CA_KUBERNETES_TOKEN_KEY_UNKNOWN');
    await Promise.allSettled(Array.from({ length: 20 }, () => join(unknown)));
    expect(keyLoads(cluster)).toBe(3);
  });

  it('that were taken out are not accepted after the next refresh', async () => {
    const { cluster, clock, token, join } = await setup();
    const old = signingKey('old');
    cluster.keys = [...cluster.keys, old];
    await join(token());
    await join(mint(old, claimsOf('node-a', clock.now())));
    cluster.keys = cluster.keys.filter((key) => key !== old);
    clock.advance(5 * 60_000);
    const late = mint(old, claimsOf('node-a', clock.now()));
    expect(await codeOf(() => join(late))).toBe('CA_KUBERNETES_TOKEN_KEY_UNKNOWN');
  });

  it('serve on while the server is down, for a day, and are loaded when it is back', async () => {
    const { cluster, clock, token, join, lines } = await setup({ attestor: { review: false } });
    await join(token());
    await cluster.stop();
    clock.advance(60 * 60_000);
    expect(await join(token())).toBe('spiffe://cluster.local/agent/node-a');
    expect(lines.some(({ message }) => message.includes('keys of the token issuer'))).toBe(true);
    const unknown = mint(signingKey('key-2'), claimsOf('node-a', clock.now()));
    expect(await codeOf(() => join(unknown))).toBe(unavailable);
    clock.advance(24 * 60 * 60_000);
    expect(await codeOf(() => join(token()))).toBe(unavailable);
    await cluster.start();
    clock.advance(10_000);
    expect(await join(token())).toBe('spiffe://cluster.local/agent/node-a');
  });

  it.each(['status', 'garbage', 'redirect', 'huge'] as const)(
    'are refused from a server that answers with %s',
    async (broken) => {
      const { cluster, clock, token, join, lines } = await setup({ attestor: { review: false } });
      cluster.broken = broken;
      expect(await codeOf(() => join(token()))).toBe(unavailable);
      // What the server is and says is in our log and not in the answer.
      expect(String(lines.at(-1)?.fields['reason'])).toContain(broken === 'garbage' ? 'expected JSON' : 'expected');
      cluster.broken = undefined;
      clock.advance(10_000);
      expect(await join(token())).toBe('spiffe://cluster.local/agent/node-a');
    },
  );

  it('are loaded by a function that is given, such as from a file', async () => {
    const key = signingKey('file');
    let calls = 0;
    const jwks = (): Promise<unknown> => Promise.resolve((calls += 1) && { keys: [jwkOf(key)] });
    const { join, clock, cluster } = await setup({ attestor: { jwks } });
    cluster.keys = [key];
    expect(await join(mint(key, claimsOf('node-a', clock.now())))).toBe('spiffe://cluster.local/agent/node-a');
    expect([calls, keyLoads(cluster), reviews(cluster)]).toEqual([1, 0, 1]);
  });

  it('are asked for by the fetch that is given', async () => {
    const cluster = await fakeCluster({ tls: false });
    const { token, join } = await setup({
      cluster,
      attestor: { server: { url: cluster.url, fetch, bearerToken: cluster.bearerToken } },
    });
    expect(await join(token())).toBe('spiffe://cluster.local/agent/node-a');
    cluster.broken = 'redirect';
    expect(await codeOf(() => join(token()))).toBe(unavailable);
  });
});

describe('TokenReview', () => {
  const user = (changes: Record<string, unknown>) => (honest: Review) => ({
    ...honest,
    user: { ...(honest.user as object), ...changes },
  });
  const extra = (changes: Record<string, unknown>) => (honest: Review) => {
    const { extra: before } = honest.user as { extra: object };
    return user({ extra: { ...before, ...changes } })(honest);
  };
  const name = 'authentication.kubernetes.io/node-name';
  const cases: readonly (readonly [string, string, (honest: Review) => Review])[] = [
    ['says no', 'REFUSED', () => ({ authenticated: false })],
    ['says no as API servers do', 'REFUSED', () => ({ user: {}, error: '[invalid bearer token, token expired]' })],
    ['says nothing', 'REFUSED', () => ({})],
    ['has no user', 'REFUSED', (honest) => ({ ...honest, user: undefined })],
    ['has an error beside its yes', 'REFUSED', (honest) => ({ ...honest, error: 'token expired' })],
    ['echoes no audience', 'MISMATCH', (honest) => ({ ...honest, audiences: undefined })],
    ['echoes another audience', 'MISMATCH', (honest) => ({ ...honest, audiences: ['https://kubernetes.default.svc'] })],
    ['names another user', 'MISMATCH', user({ username: `${username}-evil` })],
    ['names another account object', 'MISMATCH', user({ uid: 'recreated' })],
    ['names another node', 'MISMATCH', extra({ [name]: ['node-b'] })],
    ['names two nodes', 'MISMATCH', extra({ [name]: ['node-a', 'node-b'] })],
    ['names no node', 'MISMATCH', extra({ [name]: undefined })],
    ['names another node object', 'MISMATCH', extra({ 'authentication.kubernetes.io/node-uid': ['recreated'] })],
    ['names another pod', 'MISMATCH', extra({ 'authentication.kubernetes.io/pod-name': ['other'] })],
    ['names another pod object', 'MISMATCH', extra({ 'authentication.kubernetes.io/pod-uid': ['recreated'] })],
    ['has no extras', 'MISMATCH', user({ extra: undefined })],
  ];

  it.each(cases)('that %s is a refusal: %s', async (_, code, review) => {
    const { cluster, token, join, audit } = await setup();
    cluster.review = review;
    const value = token();
    expect(await codeOf(() => join(value))).toBe(`CA_KUBERNETES_REVIEW_${code}`);
    expect(audit.at(-1)).toMatchObject({ event: 'refused', operation: 'join', node: 'node-a' });
    // The token was not used up.
    cluster.review = (honest) => honest;
    expect(await join(value)).toBe('spiffe://cluster.local/agent/node-a');
  });

  it('refuses the token of a pod that is gone', async () => {
    const { cluster, token, join } = await setup();
    cluster.deletedPods.add('agent-node-a');
    expect(await codeOf(() => join(token()))).toBe('CA_KUBERNETES_REVIEW_REFUSED');
    expect(await join(token('node-b'))).toBe('spiffe://cluster.local/agent/node-b');
  });

  it('is asked for only with tokens that verify', async () => {
    const { cluster, clock, join } = await setup();
    const forged = mint({ ...signingKey('key-1') }, claimsOf('node-a', clock.now()));
    expect(await codeOf(() => join(forged))).toBe('CA_KUBERNETES_TOKEN_SIGNATURE');
    expect(reviews(cluster)).toBe(0);
  });

  it.each(['status', 'garbage', 'redirect', 'huge'] as const)('that fails by %s accepts nothing', async (broken) => {
    const { cluster, token, join, lines, audit } = await setup();
    await join(token());
    cluster.broken = broken;
    const value = token();
    expect(await codeOf(() => join(value))).toBe(unavailable);
    for (const part of value.split('.')) expect(JSON.stringify([lines, audit])).not.toContain(part);
    cluster.broken = undefined;
    expect(await join(value)).toBe('spiffe://cluster.local/agent/node-a');
  });

  it('says in the log whom the API server took us for, and what that one may not do', async () => {
    const { cluster, token, join, lines } = await setup();
    await join(token());
    cluster.broken = 'forbidden';
    expect(await codeOf(() => join(token()))).toBe(unavailable);
    const forbidden = 'system:serviceaccount:mesh-system:meshwright-controller" cannot create resource "tokenreviews"';
    expect(String(lines.at(-1)?.fields['reason'])).toContain(forbidden);
    const stranger = await setup({ cluster, attestor: { server: { url: cluster.url, bearerToken: 'secret' } } });
    expect(await codeOf(() => stranger.join(token()))).toBe(unavailable);
    expect(JSON.stringify(stranger.lines)).toContain('got 401: Unauthorized');
    expect(JSON.stringify(stranger.lines)).not.toContain('secret');
  });

  it('that quotes the token in its error does not get it into the log', async () => {
    const { cluster, token, join, lines, audit } = await setup();
    const value = token();
    cluster.review = () => ({ authenticated: false, error: `bad token ${value}` });
    expect(await codeOf(() => join(value))).toBe('CA_KUBERNETES_REVIEW_REFUSED');
    for (const part of value.split('.')) expect(JSON.stringify([lines, audit])).not.toContain(part);
  });

  it('is given up after its time', async () => {
    const { cluster, clock, token, join } = await setup();
    await join(token());
    cluster.broken = 'hang';
    const joining = codeOf(() => join(token()));
    const before = cluster.requests.length;
    while (cluster.requests.length === before) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5000);
    expect(await joining).toBe(unavailable);
  });
});
