import { describe, expect, test } from 'vitest';
import { arpSettingFindings } from '../../../src/vip/l2/index.js';
import { isIpv6Router } from '../../../src/vip/l2/host-settings.js';
import { describeRequiring } from '../../support/requirements.js';
import { LinkAgent, Segment } from './support/segment.js';

function settings(values: Readonly<Record<string, number>>): (path: string) => number | undefined {
  return (path) => values[path];
}

describe('what is amiss on a machine with several interfaces', () => {
  const none = { 'ipv4/conf/all/arp_ignore': 0, 'ipv4/conf/all/arp_announce': 0 };

  test('is said where both settings are off', () => {
    expect(arpSettingFindings('eth0', settings(none), ['eth0', 'eth1'])).toEqual([
      { setting: 'arp_ignore', value: 0, recommended: 1 },
      { setting: 'arp_announce', value: 0, recommended: 2 },
    ]);
  });

  test('is nothing with one interface, or where nothing can be read', () => {
    expect(arpSettingFindings('eth0', settings(none), ['eth0'])).toEqual([]);
    expect(arpSettingFindings('eth0', settings({}), ['eth0', 'eth1'])).toEqual([]);
  });

  test('takes the larger of the interface’s own value and that of all', () => {
    const own = { ...none, 'ipv4/conf/eth0/arp_ignore': 2, 'ipv4/conf/eth0/arp_announce': 1 };
    expect(arpSettingFindings('eth0', settings(own), ['eth0', 'eth1'])).toEqual([
      { setting: 'arp_announce', value: 1, recommended: 2 },
    ]);
  });

  test('a machine that forwards IPv6 on the interface is a router there', () => {
    expect(isIpv6Router('eth0', settings({ 'ipv6/conf/eth0/forwarding': 1 }))).toBe(true);
    expect(isIpv6Router('eth0', settings({ 'ipv6/conf/eth0/forwarding': 0 }))).toBe(false);
    expect(isIpv6Router('eth0', settings({}))).toBe(false);
  });
});

describeRequiring(
  { netns: true, native: true, commands: ['arping'] },
  'a machine with two interfaces on one segment',
  () => {
    test('answers for an address with both MACs, and is warned of, until arp_ignore is set', async () => {
      await using segment = await Segment.make();
      const [machine, client] = [await segment.station('machine'), await segment.station('client')];
      await segment.lab.link(
        { namespace: segment.switch, device: 'p-second', bridge: 'br0' },
        { namespace: machine.namespace, device: 'eth1', mac: '02:00:00:00:01:01', addresses: ['10.20.0.50/24'] },
      );
      const agent = await LinkAgent.start(machine);
      const ask = async (): Promise<number> => {
        const { stdout } = await client.namespace.exec('arping', ['-c', '1', '-w', '1', '-i', 'eth0', '10.20.0.100'], {
          allowFailure: true,
        });
        return [...stdout.matchAll(/bytes from/g)].length;
      };
      await machine.namespace.address('eth0', '10.20.0.100/24');
      expect(await agent.tell({ op: 'findings' })).toEqual([
        { setting: 'arp_ignore', value: 0, recommended: 1 },
        { setting: 'arp_announce', value: 0, recommended: 2 },
      ]);
      expect(await ask()).toBe(2);
      await machine.namespace.sysctl({ 'net.ipv4.conf.all.arp_ignore': 1, 'net.ipv4.conf.all.arp_announce': 2 });
      expect(await agent.tell({ op: 'findings' })).toEqual([]);
      expect(await ask()).toBe(1);
    });
  },
);
