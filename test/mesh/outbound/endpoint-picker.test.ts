import { describe, expect, it } from 'vitest';
import { EndpointPicker } from '../../../src/mesh/index.js';
import type { ServicePort } from '../../../src/mesh/index.js';

const port = (...ready: boolean[]): ServicePort => ({
  port: 80,
  protocol: 'TCP',
  endpoints: ready.map((isReady, index) => ({
    address: `10.0.0.${String(index + 1)}`,
    port: 8080,
    workload: `ns/pod-${String(index)}`,
    node: 'n',
    ready: isReady,
  })),
});

describe('EndpointPicker', () => {
  it('takes turns and lists the others after the first choice', () => {
    const picker = new EndpointPicker();
    const order = (): string[] => picker.candidates('a', port(true, true, true)).map(({ address }) => address);
    expect(order()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
    expect(order()).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.1']);
    expect(order()).toEqual(['10.0.0.3', '10.0.0.1', '10.0.0.2']);
  });

  it('never offers one that is not ready', () => {
    expect(new EndpointPicker().candidates('a', port(false, true)).map(({ address }) => address)).toEqual(['10.0.0.2']);
    expect(new EndpointPicker().candidates('a', port(false))).toEqual([]);
  });
});
