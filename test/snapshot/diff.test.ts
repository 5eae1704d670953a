import { describe, expect, it } from 'vitest';
import { diffByKey } from '../../src/snapshot/index.js';

describe('diffByKey', () => {
  it('tells added, removed, changed and unchanged apart, in whatever order they come', () => {
    const before = [
      { k: 'a', v: 1 },
      { k: 'b', v: 1 },
      { k: 'c', v: 1 },
    ];
    const after = [
      { v: 1, k: 'c' },
      { k: 'd', v: 1 },
      { k: 'b', v: 2 },
    ];
    expect(diffByKey(before, after, (each) => each.k)).toEqual({
      added: [{ k: 'd', v: 1 }],
      removed: [{ k: 'a', v: 1 }],
      changed: [{ key: 'b', before: { k: 'b', v: 1 }, after: { k: 'b', v: 2 } }],
      unchanged: 1,
    });
  });

  it('compares as it is told to', () => {
    const equal = (): boolean => true;
    expect(diffByKey([{ k: 'a', v: 1 }], [{ k: 'a', v: 2 }], (each) => each.k, { equal }).unchanged).toBe(1);
  });
});
