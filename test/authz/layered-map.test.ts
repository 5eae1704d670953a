import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LayeredMap } from '../../src/authz/layered-map.js';

it('is as a map that was copied for every change, and so are those it was made from', () => {
  const change = fc.array(fc.tuple(fc.nat({ max: 120 }), fc.option(fc.nat(), { nil: undefined })), { maxLength: 4 });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), (steps) => {
      const start = new Map(Array.from({ length: 100 }, (_, key) => [key, -key]));
      let map = new LayeredMap<number, number>(start);
      let copy = new Map(start);
      const seen: [LayeredMap<number, number>, Map<number, number>][] = [[map, copy]];
      for (const step of steps) {
        map = map.with(new Map(step));
        copy = new Map(copy);
        for (const [key, value] of new Map(step)) {
          if (value === undefined) copy.delete(key);
          else copy.set(key, value);
        }
        seen.push([map, copy]);
      }
      for (const [layered, plain] of seen) {
        for (let key = 0; key <= 120; key += 1) expect(layered.get(key)).toBe(plain.get(key));
        expect(layered.size).toBeGreaterThanOrEqual(plain.size);
      }
    }),
    { numRuns: 300 },
  );
});
