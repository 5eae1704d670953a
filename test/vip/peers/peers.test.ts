import { NetnsLab } from 'meshwright/testing';
import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from './bird.js';
import { Frr } from './frr.js';
import { GoBgp } from './gobgp.js';
import { until } from './until.js';

const needs = { netns: true, commands: ['bird', 'birdc', 'vtysh', 'gobgpd', 'gobgp'] };

describeRequiring(needs, 'the peers that judge us', () => {
  test('BIRD, FRR and GoBGP start in namespaces and are each other’s neighbours', async () => {
    await using lab = await NetnsLab.create();
    const router = await lab.namespace('router', { forwarding: true });
    await router.bridge('br0', { addresses: ['10.20.0.254/24'] });
    const [one, two] = [await lab.namespace('one'), await lab.namespace('two')];
    for (const [index, namespace] of [one, two].entries()) {
      await lab.link(
        { namespace: router, device: `v${String(index)}`, bridge: 'br0' },
        { namespace, device: 'eth0', addresses: [`10.20.0.${String(index + 1)}/24`] },
      );
    }
    await using bird = await Bird.start(
      router,
      `router id 10.20.0.254; protocol device {}
       template bgp agent { local 10.20.0.254 as 64512; passive on; ipv4 { import all; export none; }; }
       protocol bgp a1 from agent { neighbor 10.20.0.1 as 64513; }
       protocol bgp a2 from agent { neighbor 10.20.0.2 as 64514; }`,
    );
    await using frr = await Frr.start(one, {
      daemons: ['bgpd'],
      config: `router bgp 64513
 no bgp ebgp-requires-policy
 neighbor 10.20.0.254 remote-as 64512
 neighbor 10.20.0.254 timers connect 1
 address-family ipv4 unicast
  network 203.0.113.1/32
 exit-address-family
no ip forwarding
`,
    });
    await using gobgp = await GoBgp.start(
      two,
      `[global.config]
as = 64514
router-id = "10.20.0.2"
[[neighbors]]
[neighbors.config]
neighbor-address = "10.20.0.254"
peer-as = 64512
[neighbors.timers.config]
connect-retry = 1
`,
    );
    await bird.established('a1', 30_000);
    await frr.established('10.20.0.254');
    await bird.established('a2', 30_000);
    await gobgp.established('10.20.0.254');
    await gobgp.gobgp('global', 'rib', 'add', '203.0.113.2/32');
    const routes = await until('two routes', async () => {
      const text = await bird.birdc('show route');
      return text.includes('203.0.113.2/32') && text;
    });
    expect(routes).toContain('203.0.113.2/32');
  });
});
