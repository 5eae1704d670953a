import { beforeEach, describe, expect, it } from 'vitest';
import { EvidenceRefresher } from '../../../src/mesh/outbound/evidence-refresher.js';
import type { LocalAuthenticator } from '../../../src/mesh/index.js';
import { SpiffeId, workloadTokenHeader } from '../../../src/spiffe/index.js';
import { FakeClock } from '../../../src/testing/index.js';
import type { TunnelAnnounceOptions, TunnelClient } from '../../../src/tunnel/index.js';
import { recordingLogger } from '../support.js';

const principal = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');
const peer = SpiffeId.parse('spiffe://cluster.local/agent/node-b');
const remoteAddress = { ip: '127.0.0.1', port: 1 };
let clock: FakeClock;
let pushed: string[];
let locals: number;
let answer: () => Promise<readonly { remoteAddress: typeof remoteAddress; status?: number; error?: Error }[]>;
let lines: ReturnType<typeof recordingLogger>['lines'];
let refresher: EvidenceRefresher;

beforeEach(() => {
  clock = new FakeClock();
  pushed = [];
  locals = 0;
  answer = () => Promise.resolve([{ remoteAddress, status: 204 }]);
  const { logger, ...log } = recordingLogger();
  lines = log.lines;
  refresher = new EvidenceRefresher({
    clock,
    logger,
    tokens: { token: (workload, { keyThumbprint }) => Promise.resolve(`${workload.toString()} ${keyThumbprint}`) },
    local: {
      authenticate: () => {
        locals += 1;
        return Promise.resolve({ refused: 'source-unauthenticated', detail: 'no token' });
      },
    } as unknown as LocalAuthenticator,
    client: {
      announce: async ({ headers }: TunnelAnnounceOptions) => {
        const made = typeof headers === 'function' ? await headers({ keyThumbprint: 'key' }) : headers;
        pushed.push(made?.[workloadTokenHeader] ?? '');
        return answer();
      },
    } as unknown as TunnelClient,
  });
});

describe('EvidenceRefresher', () => {
  it('pushes one token for each principal and peer, bound to the key of the session, while streams are open', async () => {
    const ends = [refresher.track({ principal, peer }), refresher.track({ principal, peer })];
    await refresher.refresh();
    expect(pushed).toEqual([`${principal.toString()} key`]);
    ends[0]?.();
    ends[0]?.();
    await refresher.refresh();
    expect(pushed).toHaveLength(2);
    ends[1]?.();
    await refresher.refresh();
    expect(pushed).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each<[string, typeof answer]>([
    ['refused', () => Promise.resolve([{ remoteAddress, status: 403 }])],
    ['not sent', () => Promise.resolve([{ remoteAddress, error: new Error('lost') }])],
    ['without a session', () => Promise.resolve([])],
    ['failing', () => Promise.reject(new Error('closed'))],
  ])('tries a push that was %s again until it succeeds', async (_what, bad) => {
    const end = refresher.track({ principal, peer });
    const good = answer;
    answer = bad;
    await refresher.refresh();
    expect(lines.map(({ message }) => message)).toEqual(['workload evidence not renewed']);
    await clock.advanceAsync(5_000);
    expect(pushed).toHaveLength(2);
    answer = good;
    await clock.advanceAsync(5_000);
    await clock.advanceAsync(60_000);
    expect(pushed).toHaveLength(3);
    expect(clock.pendingTimers).toBe(0);
    end();
  });

  it('stops trying when the stream has ended, or when it is destroyed', async () => {
    answer = () => Promise.resolve([]);
    const end = refresher.track({ principal, peer });
    await refresher.refresh();
    end();
    await clock.advanceAsync(60_000);
    expect(pushed).toHaveLength(1);
    refresher.trackLocal(principal);
    await refresher.refresh();
    refresher.destroy();
    await clock.advanceAsync(60_000);
    expect([locals, clock.pendingTimers]).toEqual([1, 0]);
  });

  it('runs once more for calls that come during a run, however many', async () => {
    refresher.track({ principal, peer });
    await Promise.all([refresher.refresh(), refresher.refresh(), refresher.refresh()]);
    expect(pushed.length).toBeLessThanOrEqual(2);
  });
});
