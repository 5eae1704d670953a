import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { until } from '../peers/until.js';
import { birdRouter } from './support/bird-config.js';
import { RouterLab, peerOf, routerIp6, untilState } from './support/router-lab.js';

const needs = { netns: true, native: true, commands: ['bird', 'birdc', 'tshark', 'dumpcap'] };

describeRequiring(needs, 'what tshark makes of everything that we send', () => {
  test('every message is read to its end, and none has a malformed field', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'meshwright-bgp-'));
    const file = join(folder, 'bgp.pcapng');
    try {
      await using lab = await RouterLab.create();
      const capture = lab.router.spawn('dumpcap', ['-q', '-i', 'br0', '-f', 'tcp port 179', '-w', file], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let heard = '';
      capture.stderr?.on('data', (chunk: Buffer) => {
        heard += chunk.toString();
      });
      await until('dumpcap listens', () => heard.includes('File:'), { seen: () => heard });
      await using bird = await Bird.start(
        lab.router,
        birdRouter({ agents6: 1, bgp: 'graceful restart on;', localAs: 64_513, peer: '' }),
      );
      const { speaker } = await lab.speaker(1, {
        gracefulRestart: { restarting: true },
        peers: [
          { remoteAs: 64_513, holdTimeSeconds: 3, nextHop: { ipv6: 'fd20::1' } },
          { remoteAs: 64_513, address: routerIp6, families: ['ipv6'] },
        ],
      });
      const attributes = {
        communities: ['64513:1', 'no-export'],
        largeCommunities: ['64513:1:2', '4294967295:0:0'],
        med: 7,
        localPreference: 300,
      };
      for (let index = 0; index < 300; index += 1) {
        speaker.announce({ prefix: `203.0.${String(112 + (index >> 8))}.${String(index & 255)}`, attributes });
        speaker.announce({ prefix: `2001:db8::${index.toString(16)}`, attributes });
      }
      speaker.announce({ prefix: '0.0.0.0/0' });
      speaker.announce({ prefix: '192.0.2.0/25' });
      speaker.announce({ prefix: '2001:db8:fffe::/47', attributes: { nextHop: 'fd20::77' } });
      speaker.routesComplete();
      await bird.established('a1');
      await untilState(speaker, 'established', routerIp6);
      speaker.drain('192.0.2.0/25');
      speaker.withdraw('203.0.112.7');
      speaker.withdraw('2001:db8::7');
      await bird.birdc('reload in a1');
      await delay(1500);
      speaker.peerDown(routerIp6, 'a test');
      await until('a new session', () => peerOf(speaker, routerIp6).sessions === 2);
      await speaker.close();
      // Now with paths, to another AS, and with an OPEN that is refused.
      await bird.configure(birdRouter({ agents6: 1 }));
      const second = await lab.speaker(1, {
        localAs: 64_513,
        peers: [{ attributes: { prepend: 3 } }, { address: routerIp6, remoteAs: 1 }],
      });
      second.speaker.announce({ prefix: '203.0.113.1' });
      await lab.untilNextHops('203.0.113.1', ['10.20.0.1']);
      await until(
        'the refusal',
        () => peerOf(second.speaker, routerIp6).lastError?.code === 'VIP_BGP_PEER_AS_MISMATCH',
      );
      await second.speaker.close();
      await delay(500);
      capture.kill('SIGINT');
      await until('the capture is written', () => capture.exitCode !== null);

      const tshark = async (filter: string, ...more: string[]): Promise<string> =>
        (await lab.router.exec('tshark', ['-r', file, '-Y', filter, ...more], { timeoutMs: 60_000 })).stdout.trim();
      const ours = '(ip.src == 10.20.0.1 || ipv6.src == fd20::1)';
      expect(await tshark(`${ours} && (_ws.malformed || _ws.expert.severity >= warning) && bgp`, '-V')).toBe('');
      // What the kernel sends again on a busy machine is not read twice.
      const again = 'tcp.analysis.retransmission || tcp.analysis.spurious_retransmission';
      expect(await tshark(`${ours} && tcp.len > 0 && !bgp && !tcp.segment && !(${again})`)).toBe('');
      const types = (await tshark(`${ours} && bgp`, '-T', 'fields', '-e', 'bgp.type', '-E', 'occurrence=a')).split(
        /[\n,]/,
      );
      const counts = Object.fromEntries(
        [...new Set(types)].map((type) => [type, types.filter((each) => each === type).length]),
      );
      expect(Object.keys(counts)).toEqual(expect.arrayContaining(['1', '2', '3', '4']));
      expect(counts['2']).toBeGreaterThan(10);
      const causes = await tshark(`${ours} && bgp.type == 3`, '-V');
      for (const words of ['Administratively Shutdown', 'Bad Peer AS']) expect(causes).toContain(words);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
