import { NetnsLab } from 'meshwright/testing';
import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { until } from '../peers/until.js';
import { bfdIn } from './in-namespace.js';

const config = `
router id 10.20.0.254;
protocol device { scan time 2; }
protocol bfd b1 {
  interface "br0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; };
  neighbor 10.20.0.1 dev "br0" local 10.20.0.254;
  neighbor fd20::1 dev "br0" local fd20::254;
}
`;

describeRequiring({ netns: true, native: true, commands: ['bird'] }, 'BFD with BIRD', () => {
  test('comes up, v4 and v6', async () => {
    await using lab = await NetnsLab.create();
    const router = await lab.namespace('router');
    const node = await lab.namespace('node');
    await lab.link(
      { namespace: router, device: 'br0', addresses: ['10.20.0.254/24', 'fd20::254/64'] },
      { namespace: node, device: 'eth0', addresses: ['10.20.0.1/24', 'fd20::1/64'] },
    );
    await using bird = await Bird.start(router, config);
    await using bfd = await bfdIn(node);
    const seen: unknown[] = [];
    const timers = { txIntervalMs: 100, rxIntervalMs: 100, multiplier: 3 };
    const v4 = bfd.add({ peer: '10.20.0.254', local: '10.20.0.1', ...timers, onChange: (s) => seen.push(s) });
    const v6 = bfd.add({ peer: 'fd20::254', local: 'fd20::1', interface: 'eth0', mode: 'single-hop', ...timers });
    await until('both up', () => v4.state === 'up' && v6.state === 'up', {
      timeoutMs: 5000,
      seen: () => JSON.stringify([v4.status, v6.status, bfd.refusals]),
    });
    await new Promise((r) => setTimeout(r, 1000));
    expect(await bird.birdc('show bfd sessions')).toMatch(/10\.20\.0\.1 +br0 +Up/);
    expect(v4.state).toBe('up');
  });
});
