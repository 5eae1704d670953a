// Beside another implementation that claims addresses on layer 2.
import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Keepalived, vrrpInstance } from '../peers/keepalived.js';
import { LinkAgent, Segment, neighbour } from './support/segment.js';

const ip = '10.20.0.100';
const ip6 = 'fd20::100';

describeRequiring({ netns: true, native: true, commands: ['keepalived', 'bash'] }, 'beside keepalived', () => {
  test('a probe finds what it has, a claim of its is a conflict, and clients follow whoever spoke last', async () => {
    await using segment = await Segment.make();
    const [ours, theirs, client] = [
      await segment.station('ours'),
      await segment.station('theirs'),
      await segment.station('client'),
    ];
    const agent = await LinkAgent.start(ours);
    const config = vrrpInstance({ priority: 100, addresses: [`${ip}/24`], advertSeconds: 0.1 });
    {
      await using _keepalived = await Keepalived.start(theirs.namespace, config);
      await expect.poll(() => agent.probe(ip), { timeout: 15_000 }).toMatchObject({ free: false, mac: theirs.mac });
      await client.namespace.exec('bash', ['-c', `echo x > /dev/udp/${ip}/9`]);
      await expect.poll(() => neighbour(client, ip)).toBe(theirs.mac);
    }
    // It ended in order: the address is free, and the client goes with the next that announces it.
    expect(await agent.probe(ip)).toEqual({ free: true });
    await ours.namespace.address('eth0', `${ip}/24`);
    await agent.tell({ op: 'announce', ip });
    await expect.poll(() => neighbour(client, ip), { interval: 5, timeout: 900 }).toBe(ours.mac);
    // Configured wrongly, it claims an address that is ours: with every volley of its gratuitous ARP.
    await using _again = await Keepalived.start(theirs.namespace, config);
    await expect
      .poll(async () => (await agent.tell({ op: 'conflicts' })) as unknown[], { timeout: 15_000 })
      .toContainEqual({ mac: theirs.mac });
    expect((await agent.events('vip.l2-conflict')).filter(({ defended }) => defended).length).toBeGreaterThan(0);
  });

  test('its unsolicited advertisements of IPv6 are seen as well', async () => {
    await using segment = await Segment.make();
    const [ours, theirs] = [await segment.station('ours'), await segment.station('theirs')];
    const agent = await LinkAgent.start(ours);
    await agent.tell({ op: 'announce', ip: ip6 });
    const addresses = ['fe80::51/64', `${ip6}/64`];
    await using _keepalived = await Keepalived.start(
      theirs.namespace,
      vrrpInstance({ priority: 100, addresses, advertSeconds: 0.1 }),
    );
    await expect
      .poll(async () => (await agent.tell({ op: 'conflicts' })) as unknown[], { timeout: 15_000 })
      .toContainEqual({ mac: theirs.mac });
    expect(await agent.probe(ip6)).toMatchObject({ free: false, mac: theirs.mac });
  });
});
