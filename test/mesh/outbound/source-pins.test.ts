import { describe, expect, it } from 'vitest';
import { SourcePins } from '../../../src/mesh/index.js';
import { meshState } from '../fixtures.js';

const [web] = meshState().workloads;
if (web === undefined) throw new Error('fixture');
const pinned = (): SourcePins => {
  const pins = new SourcePins();
  pins.replace(new Map([[web, { name: 'veth-web', index: 7 }]]));
  return pins;
};

describe('SourcePins', () => {
  it('pins nothing until a snapshot found an interface', () => {
    expect(new SourcePins().isPinned(web)).toBe(false);
    expect(pinned().isPinned(web)).toBe(true);
  });

  it.each([
    ['removed', { name: 'veth-web', index: 7, removed: true }],
    ['made anew under the same name', { name: 'veth-web', index: 9, removed: false }],
    ['renamed', { name: 'other', index: 7, removed: false }],
  ])('unpins a workload whose interface was %s, until the next snapshot', (_what, change) => {
    const pins = pinned();
    expect(pins.interfaceChanged(change)).toEqual(['frontend/web']);
    expect(pins.isPinned(web)).toBe(false);
    // The interface coming back is not enough.
    pins.interfaceChanged({ name: 'veth-web', index: 7, removed: false });
    expect(pins.isPinned(web)).toBe(false);
    pins.replace(new Map([[web, { name: 'veth-web', index: 9 }]]));
    expect(pins.isPinned(web)).toBe(true);
  });

  it('does not care for other interfaces, nor for news about an unchanged one', () => {
    const pins = pinned();
    expect(pins.interfaceChanged({ name: 'eth0', index: 2, removed: true })).toEqual([]);
    expect(pins.interfaceChanged({ name: 'veth-web', index: 7, removed: false })).toEqual([]);
    expect(pins.isPinned(web)).toBe(true);
  });
});
