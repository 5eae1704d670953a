// Every packet that is sent, as two other programs read it.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { until } from '../peers/until.js';
import { LinkAgent, Segment } from './support/segment.js';
import type { Station } from './support/segment.js';

const run = promisify(execFile);

describeRequiring({ netns: true, native: true, commands: ['tcpdump', 'tshark'] }, 'on the wire', () => {
  let segment: Segment;
  let station: Station;
  let directory: string;
  let capture: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'meshwright-l2-'));
    capture = join(directory, 'capture.pcap');
    segment = await Segment.make();
    station = await segment.station('sender');
    const watcher = await segment.station('watcher');
    // Captured where it arrives: what the sender's own kernel says of the same addresses is not there.
    const tcpdump = watcher.namespace.spawn(
      'tcpdump',
      ['-i', 'eth0', '-U', '--immediate-mode', '-Z', 'root', '-w', capture, 'ether', 'src', station.mac],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let heard = '';
    tcpdump.stderr?.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    await until('tcpdump listens', () => heard.includes('listening on'), { seen: () => heard });
    const agent = await LinkAgent.start(station, { announce: { burst: 2, burstIntervalMs: 100 } });
    await agent.probe('10.20.0.100');
    await agent.probe('fd20::100');
    const announced = async (ip: string): Promise<void> => {
      await agent.tell({ op: 'announce', ip });
      await until(`${ip} was announced three times`, async () => {
        const events = await agent.events('vip.l2-announced');
        return events.filter(({ address }) => address === ip).length === 3;
      });
      await agent.tell({ op: 'stop', ip });
    };
    await announced('10.20.0.100');
    await announced('fd20::100');
    await station.namespace.sysctl({ 'net.ipv6.conf.eth0.forwarding': 1 });
    await announced('fd20::101');
    await new Promise((resolve) => void setTimeout(resolve, 500));
    tcpdump.kill('SIGINT');
    await once(tcpdump, 'exit');
  });
  afterAll(async () => {
    await segment?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  async function tshark(filter: string, ...fields: readonly string[]): Promise<string[]> {
    const columns = fields.flatMap((field) => ['-e', field]);
    const { stdout } = await run('tshark', [
      ...['-r', capture, '-Y', filter, '-o', 'ipv6.use_geoip:FALSE', '-T', 'fields', '-E', 'separator=/s', ...columns],
    ]);
    return stdout.split('\n').filter((line) => line !== '');
  }

  test('tshark finds nothing malformed, and warns of nothing', async () => {
    expect(await tshark('arp or icmpv6.type == 135 or icmpv6.type == 136', 'frame.number')).not.toEqual([]);
    expect(await tshark('_ws.malformed', 'frame.number')).toEqual([]);
    expect(await tshark('icmpv6.checksum.status != 1', 'frame.number')).toEqual([]);
    // The same station with a new address is what an announcement is; tshark may note it, and nothing more.
    expect(await tshark('_ws.expert.severity >= "Warning"', 'frame.number', '_ws.expert.message')).toEqual([]);
  });

  const mac = '02:00:00:00:00:01';
  const broadcast = 'ff:ff:ff:ff:ff:ff';
  const zero = '00:00:00:00:00:00';

  test('tshark reads ARP probes, and announcements as request and as reply', async () => {
    const fields = [
      'eth.dst',
      'arp.opcode',
      'arp.src.hw_mac',
      'arp.src.proto_ipv4',
      'arp.dst.hw_mac',
      'arp.dst.proto_ipv4',
    ];
    expect(await tshark('arp.isprobe == 1', ...fields)).toEqual(
      Array(3).fill(`${broadcast} 1 ${mac} 0.0.0.0 ${zero} 10.20.0.100`),
    );
    expect(await tshark('arp.isgratuitous == 1', ...fields)).toEqual(
      Array(3)
        .fill([
          `${broadcast} 1 ${mac} 10.20.0.100 ${zero} 10.20.0.100`,
          `${broadcast} 2 ${mac} 10.20.0.100 ${mac} 10.20.0.100`,
        ])
        .flat(),
    );
  });

  test('tshark reads solicitations from ::, and unsolicited advertisements that override', async () => {
    expect(
      await tshark(
        'icmpv6.nd.ns.target_address == fd20::100',
        ...['eth.dst', 'ipv6.src', 'ipv6.dst', 'ipv6.hlim', 'icmpv6.opt.type'],
      ),
    ).toEqual(Array(3).fill('33:33:ff:00:01:00 :: ff02::1:ff00:100 255 '));
    const advertised = (target: string): Promise<string[]> =>
      tshark(
        `icmpv6.nd.na.target_address == ${target}`,
        ...['eth.dst', 'ipv6.src', 'ipv6.dst', 'ipv6.hlim', 'icmpv6.nd.na.flag.r', 'icmpv6.nd.na.flag.s'],
        ...['icmpv6.nd.na.flag.o', 'icmpv6.opt.type', 'icmpv6.opt.target_linkaddr'],
      );
    const flags = (text: string): string => text.replaceAll('True', '1').replaceAll('False', '0');
    const expected = (ip: string, router: number): string =>
      `33:33:00:00:00:01 ${ip} ff02::1 255 ${String(router)} 0 1 2 ${mac}`;
    expect((await advertised('fd20::100')).map(flags).slice(0, 3)).toEqual(Array(3).fill(expected('fd20::100', 0)));
    // A machine that forwards calls itself a router, or clients would forget it as one.
    expect((await advertised('fd20::101')).map(flags)).toEqual(Array(3).fill(expected('fd20::101', 1)));
  });

  test('the group of the address is joined for the probe, so that a snooping switch carries other probes here', async () => {
    const [report = ''] = await tshark('icmpv6.mldr.mar.multicast_address == ff02::1:ff00:100', 'frame.number');
    const probes = await tshark('icmpv6.nd.ns.target_address == fd20::100', 'frame.number');
    // The kernel reports a moment after it was told.
    expect(Number(report)).toBeGreaterThan(0);
    expect(Number(report)).toBeLessThan(Number(probes.at(-1)));
  });

  test('tcpdump reads the same', async () => {
    const { stdout } = await run('tcpdump', ['-n', '-v', '-r', capture]);
    expect(stdout).toContain('Request who-has 10.20.0.100');
    expect(stdout).toContain(`Reply 10.20.0.100 is-at ${mac}`);
    expect(stdout).toContain('neighbor solicitation, length 24, who has fd20::100');
    expect(stdout).toContain('tgt is fd20::100, Flags [override]');
    expect(stdout).not.toMatch(/bad icmp6 cksum|\[\|/);
  });
});
