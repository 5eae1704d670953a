// What layer 2 itself takes when an address goes from one node to another in order: the lease is not part of it.
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { AskingClient, monotonicMs, startAnswering } from '../../../bench/failover/client.js';
import { median } from '../../support/median.js';
import { describeRequiring } from '../../support/requirements.js';
import { LinkAgent, Segment } from '../l2/support/segment.js';
import { OwnerWatch } from './owner-watch.js';

const rounds = 10;

describeRequiring({ netns: true, native: true }, 'an orderly handover', () => {
  test.each(['10.20.0.100', 'fd20::100'])(
    'loses a client that asks every 10 ms at most one answer as a rule (%s)',
    async (ip) => {
      await using segment = await Segment.make();
      const nodes = [await segment.station('one'), await segment.station('two')];
      const client = await segment.station('client');
      // /32 and /128, as the address is: the client reaches it on the link all the same.
      await client.namespace.route(ip, { device: 'eth0' });
      for (const { namespace } of nodes) await startAnswering(namespace, namespace.label);
      const [one, two] = [await LinkAgent.start(nodes[0] ?? client), await LinkAgent.start(nodes[1] ?? client)];
      const watch = await OwnerWatch.start(
        nodes.map(({ namespace }) => namespace),
        ip,
      );
      try {
        await one.tell({ op: 'take', ip });
        using asking = new AskingClient(client.namespace, ip);
        await asking.answerOf('one');
        const samples: { gapMs: number; lost: number }[] = [];
        for (let round = 0; round < rounds; round += 1) {
          const [from, to, name] = round % 2 === 0 ? [one, two, 'two'] : [two, one, 'one'];
          await delay(300);
          const sinceMs = monotonicMs();
          await from.tell({ op: 'give', ip });
          await to.tell({ op: 'take', ip });
          const { answeredMs } = await asking.answerOf(name, { sinceMs });
          await delay(50);
          samples.push({ gapMs: answeredMs - sinceMs, lost: asking.unanswered(sinceMs - 20, answeredMs).length });
        }
        expect(median(samples.map(({ gapMs }) => gapMs)), JSON.stringify(samples)).toBeLessThan(100);
        expect(median(samples.map(({ lost }) => lost)), JSON.stringify(samples)).toBeLessThanOrEqual(1);
        expect(watch.overlapsMs(monotonicMs())).toEqual([]);
        expect(watch.history.length).toBeGreaterThan(rounds);
      } finally {
        watch[Symbol.dispose]();
      }
    },
  );

  test('two nodes with one address are seen by who watches', async () => {
    await using segment = await Segment.make();
    const nodes = [await segment.station('one'), await segment.station('two')];
    const namespaces = nodes.map(({ namespace }) => namespace);
    using watch = await OwnerWatch.start(namespaces, '10.20.0.100');
    expect(watch.owners).toEqual([]);
    const sinceMs = monotonicMs();
    for (const namespace of namespaces) await namespace.address('eth0', '10.20.0.100/32');
    await expect.poll(() => watch.owners).toEqual(['one', 'two']);
    await delay(100);
    await namespaces[0]?.ip('address', 'del', '10.20.0.100/32', 'dev', 'eth0');
    await expect.poll(() => watch.owners).toEqual(['two']);
    const [overlapMs = 0, ...more] = watch.overlapsMs(monotonicMs());
    expect(more).toEqual([]);
    expect(overlapMs).toBeGreaterThan(90);
    expect(overlapMs).toBeLessThan(monotonicMs() - sinceMs);
  });
});
