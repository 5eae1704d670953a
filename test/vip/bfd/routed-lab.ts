import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';

export interface RoutedLab extends AsyncDisposable {
  readonly lab: NetnsLab;
  /** eth0: 10.20.0.1, fd20::1 (to `router`). */
  readonly node: NetNamespace;
  /** br0: 10.20.0.254, fd20::254; far0: 10.30.0.254, fd30::254. Forwards. */
  readonly router: NetNamespace;
  /** eth0: 10.30.0.1, fd30::1 (to `router`): two hops from `node`. */
  readonly far: NetNamespace;
}

export async function routedLab(): Promise<RoutedLab> {
  const lab = await NetnsLab.create();
  const node = await lab.namespace('node');
  const router = await lab.namespace('router', { forwarding: true });
  const far = await lab.namespace('far');
  await lab.link(
    { namespace: router, device: 'br0', addresses: ['10.20.0.254/24', 'fd20::254/64'] },
    { namespace: node, device: 'eth0', addresses: ['10.20.0.1/24', 'fd20::1/64'] },
  );
  await lab.link(
    { namespace: router, device: 'far0', addresses: ['10.30.0.254/24', 'fd30::254/64'] },
    { namespace: far, device: 'eth0', addresses: ['10.30.0.1/24', 'fd30::1/64'] },
  );
  await node.route('default', { via: '10.20.0.254' });
  await node.route('::/0', { via: 'fd20::254' });
  await far.route('default', { via: '10.30.0.254' });
  await far.route('::/0', { via: 'fd30::254' });
  return { lab, node, router, far, [Symbol.asyncDispose]: () => lab.close() };
}

export const fastTimers = { txIntervalMs: 100, rxIntervalMs: 100, multiplier: 3 };
