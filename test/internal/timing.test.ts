import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backoff } from '../../src/internal/backoff.js';
import { SingleFlight } from '../../src/internal/single-flight.js';
import { TokenBuckets } from '../../src/internal/token-bucket.js';
import { FakeClock } from '../../src/testing/index.js';

const fixed = (fraction: number) => ({ bytes: (length: number) => new Uint8Array(length), fraction: () => fraction });

describe('Backoff', () => {
  it('doubles up to its cap, and starts again after reset', () => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1000 }, fixed(1));
    expect(Array.from({ length: 6 }, () => backoff.nextMs())).toEqual([100, 200, 400, 800, 1000, 1000]);
    backoff.reset();
    expect(backoff.nextMs()).toBe(100);
  });

  it('stays between half of a delay and all of it, for ever', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 0, max: 2000 }),
        (fraction, skipped) => {
          const backoff = new Backoff({ firstMs: 10, maxMs: 5000 }, fixed(fraction));
          for (let count = 0; count < skipped; count += 1) backoff.nextMs();
          const fullMs = Math.min(5000, 10 * 2 ** Math.min(skipped, 30));
          const delayMs = backoff.nextMs();
          expect(delayMs).toBeGreaterThanOrEqual(fullMs / 2);
          expect(delayMs).toBeLessThanOrEqual(fullMs);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('SingleFlight', () => {
  it('runs once per key for all who come meanwhile, and anew afterwards', async () => {
    const flight = new SingleFlight<string, number>();
    let runs = 0;
    const run = (key: string): Promise<number> => flight.run(key, () => Promise.resolve((runs += 1)));
    expect(await Promise.all([run('a'), run('a'), run('b')])).toEqual([1, 1, 2]);
    expect(await run('a')).toBe(3);
  });

  it('shares a failure, and starts anew after it', async () => {
    const flight = new SingleFlight<string, number>();
    const failing = (): Promise<number> => flight.run('a', () => Promise.reject(new Error('no')));
    const outcomes = await Promise.allSettled([failing(), failing()]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await flight.run('a', () => Promise.resolve(1))).toBe(1);
  });

  it('lets one caller give up without ending the run of the others', async () => {
    const flight = new SingleFlight<string, number>();
    let finish: (value: number) => void = () => undefined;
    const start = (): Promise<number> => new Promise((resolve) => (finish = resolve));
    const stop = new AbortController();
    const patient = flight.run('a', start);
    const impatient = flight.run('a', start, stop.signal);
    stop.abort(new Error('given up'));
    await expect(impatient).rejects.toThrow('given up');
    finish(7);
    expect(await patient).toBe(7);
  });
});

describe('TokenBuckets', () => {
  it('let a burst through, then the rate, each key by itself', () => {
    const clock = new FakeClock();
    const buckets = new TokenBuckets({ burst: 2, perSecond: 10 }, clock);
    expect([1, 2, 3].map(() => buckets.take('a'))).toEqual([true, true, false]);
    expect(buckets.take('b')).toBe(true);
    clock.advance(100);
    expect([1, 2].map(() => buckets.take('a'))).toEqual([true, false]);
  });

  it('never let more through than burst and rate allow', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 200 }), (gapsMs) => {
        const clock = new FakeClock();
        const buckets = new TokenBuckets({ burst: 5, perSecond: 4 }, clock);
        let taken = 0;
        for (const gapMs of gapsMs) {
          clock.advance(gapMs);
          if (buckets.take('a')) taken += 1;
        }
        expect(taken).toBeLessThanOrEqual(5 + (clock.monotonicMs() / 1000) * 4 + 1e-6);
      }),
    );
  });

  it('forget the key used longest ago when there are too many', () => {
    const buckets = new TokenBuckets({ burst: 1, perSecond: 0.001, maxKeys: 2 }, new FakeClock());
    expect(['a', 'b', 'a', 'c', 'a'].map((key) => buckets.take(key))).toEqual([true, true, false, true, false]);
    expect(buckets.take('b')).toBe(true);
  });
});
