import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CaError, SpiffeCA, SvidRenewer, WorkloadTokenCache, localGrants, secretFile } from 'meshwright/ca';
import type { CaEvent, FreshToken, TokenRequest, WorkloadTokenCacheOptions } from 'meshwright/ca';
import { SpiffeId, verifyWorkloadToken } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { agent, codeOf, recordingLogger, testDirectory, until } from './support.js';
import type { LogLine } from './support.js';

const spiffeId = SpiffeId.parse(agent);
const web = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
const cart = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/cart');
const elsewhere = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/elsewhere');
const minute = 60_000;
const steady = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0 };

interface Setup {
  readonly ca: SpiffeCA;
  readonly clock: FakeClock;
  readonly renewer: SvidRenewer;
  readonly lines: LogLine[];
  readonly events: CaEvent[];
  /** Workloads the CA was asked for, in order. */
  readonly asked: string[];
  failure: CaError | undefined;
  /** The key that the connection to the CA is authenticated with, as the CA sees it. */
  connectionKey: () => string;
  readonly key: () => string;
  readonly request: TokenRequest;
  open(options?: Partial<WorkloadTokenCacheOptions>): Promise<WorkloadTokenCache>;
}

async function setup(): Promise<Setup> {
  const clock = new FakeClock();
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
  const grants = localGrants(ca, spiffeId);
  const renewer = await SvidRenewer.start({ spiffeId, attest: grants, renew: () => grants, clock });
  const issuer = ca.tokens({ registry: { runsOn: (_node, id) => !id.equals(elsewhere) }, ttlMs: 60 * minute });
  const { logger, lines } = recordingLogger();
  const events: CaEvent[] = [];
  const asked: string[] = [];
  const key = (): string => renewer.svid.current.keyThumbprint;
  const made: Setup = {
    ca,
    clock,
    renewer,
    lines,
    events,
    asked,
    failure: undefined,
    connectionKey: key,
    key,
    request: async (workload) => {
      asked.push(workload.toString());
      if (made.failure !== undefined) throw made.failure;
      return issuer.issue({ node: 'node-a', workload, confirmationKey: made.connectionKey() });
    },
    open: async (options = {}) => {
      const cache = await WorkloadTokenCache.open({
        request: made.request,
        svid: renewer.svid,
        bundle: renewer.bundle,
        clock,
        random: steady,
        logger,
        observer: (event) => void events.push(event),
        ...options,
      });
      onTestFinished(() => cache.close());
      return cache;
    },
  };
  onTestFinished(() => renewer.close());
  return made;
}

describe('WorkloadTokenCache', () => {
  it('fetches a token once, and gives it to all who ask', async () => {
    const { open, key, asked, ca, clock } = await setup();
    const cache = await open();
    const tokens = await Promise.all([1, 2, 3].map(() => cache.token(web, { keyThumbprint: key() })));
    expect(new Set(tokens).size).toBe(1);
    expect(await cache.token(web, { keyThumbprint: key() })).toBe(tokens[0]);
    expect(asked).toEqual([web.toString()]);
    const options = { bundle: ca.bundle.current, audience: 'meshwright-tunnel', now: clock.now(), node: 'node-a' };
    await verifyWorkloadToken(tokens[0] ?? '', { ...options, keyThumbprint: key() });
  });

  it('fetches again when the CA signs with another key, and serves nothing of a key that was withdrawn', async () => {
    const { open, key, asked, ca, renewer, clock, events } = await setup();
    const cache = await open({ random: { ...steady, fraction: () => 0.5 } });
    const follow = (): Promise<void> => renewer.acceptBundle(ca.bundle.current);
    const first = await cache.token(web, { keyThumbprint: key() });
    await ca.tokenKeyRotation.prepare();
    await follow();
    await clock.advanceAsync(minute);
    expect(asked).toHaveLength(1);
    await ca.tokenKeyRotation.activate({ force: true });
    await follow();
    expect(await cache.token(web, { keyThumbprint: key() })).toBe(first);
    await clock.advanceAsync(3_000);
    await until(() => events.filter(({ type }) => type === 'workload-token-updated').length === 2);
    expect(asked).toHaveLength(2);
    const second = await cache.token(web, { keyThumbprint: key() });
    expect(second).not.toBe(first);

    // Without a pause in between, and from disk: nothing that was withdrawn is served.
    await ca.tokenKeyRotation.retire({ force: true });
    await ca.tokenKeyRotation.prepare();
    await ca.tokenKeyRotation.activate({ force: true });
    await ca.tokenKeyRotation.retire({ force: true });
    await follow();
    const third = await cache.token(web, { keyThumbprint: key() });
    const options = { bundle: ca.bundle.current, audience: 'meshwright-tunnel', now: clock.now(), node: 'node-a' };
    await verifyWorkloadToken(third, { ...options, keyThumbprint: key() });
  });

  it('takes from disk nothing that a withdrawn key has signed', async () => {
    const { open, key, asked, ca, renewer } = await setup();
    const file = secretFile(join(testDirectory(), 'tokens.json'));
    const cache = await open({ file });
    const first = await cache.token(web, { keyThumbprint: key() });
    await cache.close();
    await ca.tokenKeyRotation.prepare();
    await ca.tokenKeyRotation.activate({ force: true });
    await ca.tokenKeyRotation.retire({ force: true });
    await renewer.acceptBundle(ca.bundle.current);
    const again = await open({ file });
    expect(await again.token(web, { keyThumbprint: key() })).not.toBe(first);
    expect(asked).toHaveLength(2);
  });

  it('refreshes at half of the life in the background, and tells', async () => {
    const { open, key, asked, clock, events } = await setup();
    const cache = await open();
    const fresh: FreshToken[] = [];
    const subscription = cache.onRefresh((token) => void fresh.push(token));
    const first = await cache.token(web, { keyThumbprint: key() });
    await clock.advanceAsync(30 * minute - 1);
    expect(asked).toHaveLength(1);
    await clock.advanceAsync(1);
    await until(() => fresh.length === 2);
    const second = await cache.token(web, { keyThumbprint: key() });
    expect(second).not.toBe(first);
    expect(fresh.map(({ token }) => token)).toEqual([first, second]);
    expect(fresh[1]).toMatchObject({ workload: web, keyThumbprint: key() });
    expect(events.filter(({ type }) => type === 'workload-token-updated')).toHaveLength(2);
    subscription[Symbol.dispose]();
    await clock.advanceAsync(30 * minute);
    await until(() => asked.length >= 3);
    expect(fresh).toHaveLength(2);
  });

  it('serves what it has until the last moment while the CA is down, and nothing after', async () => {
    const made = await setup();
    const { open, key, clock, asked } = made;
    const cache = await open();
    const token = await cache.token(web, { keyThumbprint: key() });
    made.failure = new CaError('CA_UNAVAILABLE', 'down');
    for (let count = 0; count < 59; count += 1) await clock.advanceAsync(minute);
    await clock.advanceAsync(minute - 1);
    expect(asked.length).toBeGreaterThan(10);
    expect(asked.length).toBeLessThan(100);
    expect(await cache.token(web, { keyThumbprint: key() })).toBe(token);
    await clock.advanceAsync(1);
    const ask = cache.token(web, { keyThumbprint: key() });
    await expect(ask).rejects.toMatchObject({ code: 'CA_TOKEN_UNAVAILABLE', cause: { code: 'CA_UNAVAILABLE' } });
    made.failure = undefined;
    expect(await cache.token(web, { keyThumbprint: key() })).not.toBe(token);
  });

  it('catches up soon after the CA is back', async () => {
    const made = await setup();
    const { open, key, clock, asked } = made;
    const cache = await open();
    const token = await cache.token(web, { keyThumbprint: key() });
    made.failure = new CaError('CA_UNAVAILABLE', 'down');
    for (let count = 0; count < 45; count += 1) await clock.advanceAsync(minute);
    made.failure = undefined;
    // Attempts are at most a minute apart. Signing takes real time, however the clock stands: steps in which none times out.
    const before = asked.length;
    for (let seconds = 0; seconds < 90 && asked.length === before; seconds += 1) await clock.advanceAsync(1_000);
    expect(asked.length).toBeGreaterThan(before);
    const newest = (): Promise<string> => cache.token(web, { keyThumbprint: key() });
    await vi.waitFor(async () => expect(await newest()).not.toBe(token), { timeout: 10_000 });
  });

  it('gives no token that the CA refuses, and drops one that it no longer grants', async () => {
    const made = await setup();
    const { open, key, clock, lines, events } = made;
    const cache = await open();
    const refused = cache.token(elsewhere, { keyThumbprint: key() });
    await expect(refused).rejects.toMatchObject({
      code: 'CA_TOKEN_UNAVAILABLE',
      cause: { code: 'CA_WORKLOAD_NOT_ON_NODE' },
    });
    expect(events.at(-1)).toMatchObject({ type: 'workload-token-failed', code: 'CA_WORKLOAD_NOT_ON_NODE' });
    await cache.token(web, { keyThumbprint: key() });
    made.failure = new CaError('CA_WORKLOAD_NOT_ON_NODE', 'gone');
    await clock.advanceAsync(30 * minute);
    await until(() => lines.some(({ message }) => message === 'workload token no longer granted'));
    expect(cache.workloads).toEqual([]);
    expect(await codeOf(() => cache.token(web, { keyThumbprint: key() }))).toBe('CA_TOKEN_UNAVAILABLE');
  });

  it('refuses what any receiver would refuse', async () => {
    const made = await setup();
    const { open, key, ca, clock } = made;
    const issuer = ca.tokens({ registry: { runsOn: () => true } });
    const other = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
    const stranger = other.tokens({ registry: { runsOn: () => true } });
    const bad: readonly TokenRequest[] = [
      () => issuer.issue({ node: 'node-a', workload: cart, confirmationKey: key() }),
      () => issuer.issue({ node: 'node-b', workload: web, confirmationKey: key() }),
      () => issuer.issue({ node: 'node-a', workload: web, confirmationKey: 'x'.repeat(43) }),
      () => stranger.issue({ node: 'node-a', workload: web, confirmationKey: key() }),
      () => Promise.resolve({ token: 'nonsense', expiresAt: new Date(clock.now() + minute) }),
    ];
    for (const request of bad) {
      const cache = await open({ request });
      await expect(cache.token(web, { keyThumbprint: key() })).rejects.toMatchObject({
        code: 'CA_TOKEN_UNAVAILABLE',
        cause: { code: 'CA_RESPONSE_INVALID' },
      });
    }
  });

  it('gives up on a CA that does not answer, and lets a caller give up before', async () => {
    const { open, key, clock } = await setup();
    const cache = await open({ request: () => new Promise(() => undefined) });
    const asking = codeOf(() => cache.token(web, { keyThumbprint: key() }));
    const stop = new AbortController();
    const impatient = cache.token(web, { keyThumbprint: key(), signal: stop.signal });
    stop.abort(new Error('no time'));
    await expect(impatient).rejects.toThrow('no time');
    clock.advance(10_000);
    expect(await asking).toBe('CA_TOKEN_UNAVAILABLE');
  });
});

describe('a change of keys', () => {
  it('costs nothing when tokens were fetched before it', async () => {
    const made = await setup();
    const { open, key, asked, clock } = made;
    const cache = await open();
    const before = await cache.token(web, { keyThumbprint: key() });
    await cache.token(cart, { keyThumbprint: key() });
    const oldKey = key();
    const grants = localGrants(made.ca, spiffeId);
    const renewer = await SvidRenewer.start({
      spiffeId,
      attest: grants,
      renew: () => grants,
      clock,
      beforePublish: async ({ keyThumbprint }, signal) => {
        made.connectionKey = () => keyThumbprint;
        // Another function than the cache's own: it stands for a connection with the new SVID.
        const request: TokenRequest = (workload, options) => made.request(workload, options);
        await cacheOfNew.prefetch([...cacheOfNew.workloads, elsewhere], { keyThumbprint, request, signal });
      },
    });
    onTestFinished(() => renewer.close());
    made.connectionKey = () => renewer.svid.current.keyThumbprint;
    const cacheOfNew = await open({ svid: renewer.svid });
    const firstKey = renewer.svid.current.keyThumbprint;
    const first = await cacheOfNew.token(web, { keyThumbprint: firstKey });
    await renewer.renewNow();
    const secondKey = renewer.svid.current.keyThumbprint;
    const count = asked.length;
    const second = await cacheOfNew.token(web, { keyThumbprint: secondKey });
    expect(asked).toHaveLength(count);
    expect(second).not.toBe(first);
    // Sessions of the old key go on with the token they have, but nothing new is fetched for it.
    expect(await cacheOfNew.token(web, { keyThumbprint: firstKey })).toBe(first);
    expect(await codeOf(() => cacheOfNew.token(cart, { keyThumbprint: firstKey }))).toBe('CA_TOKEN_UNAVAILABLE');
    expect(await cache.token(web, { keyThumbprint: oldKey })).toBe(before);
    // What was prefetched is refreshed like any other.
    await clock.advanceAsync(31 * minute);
    await until(() => asked.length > count);
  });

  it('makes a prefetch fail as a whole when the CA is away', async () => {
    const made = await setup();
    const cache = await made.open();
    made.failure = new CaError('CA_UNAVAILABLE', 'down');
    const request: TokenRequest = (workload, options) => made.request(workload, options);
    const prefetch = cache.prefetch([web, cart], { keyThumbprint: made.key(), request });
    await expect(prefetch).rejects.toMatchObject({ code: 'CA_UNAVAILABLE' });
  });
});

describe('retain', () => {
  it('keeps fresh what runs here and drops the rest', async () => {
    const { open, key, asked, clock } = await setup();
    const cache = await open();
    await cache.token(web, { keyThumbprint: key() });
    await cache.token(cart, { keyThumbprint: key() });
    cache.retain([web]);
    expect(cache.workloads).toEqual([web]);
    await clock.advanceAsync(31 * minute);
    // More than once when signing was slower than the clock and the request was given up.
    await until(() => asked.length >= 3);
    expect(new Set(asked.slice(2))).toEqual(new Set([web.toString()]));
  });
});

describe('kept tokens', () => {
  it('serve a restart without the CA', async () => {
    const made = await setup();
    const { open, key, asked, clock } = made;
    const file = secretFile(join(testDirectory(), 'tokens.json'));
    const first = await open({ file });
    const token = await first.token(web, { keyThumbprint: key() });
    await first.close();
    made.failure = new CaError('CA_UNAVAILABLE', 'down');
    clock.advance(20 * minute);
    const second = await open({ file });
    expect(await second.token(web, { keyThumbprint: key() })).toBe(token);
    expect(asked).toHaveLength(1);
    await clock.advanceAsync(10 * minute);
    await until(() => asked.length > 1);
    clock.advance(30 * minute);
    const third = await open({ file });
    expect(await codeOf(() => third.token(web, { keyThumbprint: key() }))).toBe('CA_TOKEN_UNAVAILABLE');
  });

  it('of another key, or damaged, are not used', async () => {
    const { open, key, asked, renewer, lines } = await setup();
    const path = join(testDirectory(), 'tokens.json');
    const file = secretFile(path);
    const first = await open({ file });
    const token = await first.token(web, { keyThumbprint: key() });
    await first.close();
    await renewer.renewNow();
    const second = await open({ file });
    expect(await second.token(web, { keyThumbprint: key() })).not.toBe(token);
    await second.close();
    writeFileSync(path, '{"format":');
    const third = await open({ file });
    await third.token(web, { keyThumbprint: key() });
    expect(asked).toHaveLength(3);
    expect(lines.some(({ message }) => message === 'kept workload tokens not usable, fetching anew')).toBe(true);
  });
});

it('leaves no timer behind', async () => {
  const { open, key, clock, renewer } = await setup();
  const cache = await open();
  await cache.token(web, { keyThumbprint: key() });
  await cache.close();
  await renewer.close();
  expect(clock.pendingTimers).toBe(0);
  expect(await codeOf(() => cache.token(cart, { keyThumbprint: key() }))).toBe('CA_TOKEN_UNAVAILABLE');
});
