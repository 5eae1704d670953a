import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConnectionQuota } from '../../src/mesh/connection-quota.js';

describe('ConnectionQuota', () => {
  it('never exceeds either limit and forgets sources that are gone (any history)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ source: fc.constantFrom('a', 'b', 'c'), release: fc.boolean() }), { maxLength: 100 }),
        (steps) => {
          const quota = new ConnectionQuota({ maxConnections: 5, maxConnectionsPerSource: 2 });
          const held: { source: string; place: Disposable }[] = [];
          for (const { source, release } of steps) {
            const own = held.filter((each) => each.source === source);
            if (release) {
              const [last] = own.splice(-1);
              if (last === undefined) continue;
              last.place[Symbol.dispose]();
              last.place[Symbol.dispose]();
              held.splice(held.indexOf(last), 1);
            } else {
              const place = quota.take(source);
              expect(typeof place === 'string').toBe(own.length >= 2 || held.length >= 5);
              if (typeof place !== 'string') held.push({ source, place });
            }
            expect(quota.open).toBe(held.length);
          }
        },
      ),
    );
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses %s as a limit', (maxConnections) => {
    expect(() => new ConnectionQuota({ maxConnections, maxConnectionsPerSource: 1 })).toThrowError(/maxConnections/);
  });
});
