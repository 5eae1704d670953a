// An address that goes from one node to another in order, and a client that has to follow: the lease is not part of it. What it
// takes is for the benchmark `failover` to say; here it is told from waiting for a neighbour table, which takes seconds.
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { AskingClient, monotonicMs, startAnswering } from '../../../bench/failover/client.js';
import { median } from '../../support/median.js';
import { describeRequiring } from '../../support/requirements.js';
import { LinkAgent, Segment } from '../l2/support/segment.js';
import { OwnerWatch } from './owner-watch.js';

const rounds = 10;

describeRequiring({ netns: true, native: true }, 'an orderly handover', () => {
  test.each(['10.20.0.100', 'fd20::100'])('takes its client along, and is never in two places (%s)', async (ip) => {
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
      const gapsMs: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const [from, to, name] = round % 2 === 0 ? [one, two, 'two'] : [two, one, 'one'];
        await delay(300);
        const sinceMs = monotonicMs();
        await from.tell({ op: 'give', ip });
        await to.tell({ op: 'take', ip });
        const { answeredMs } = await asking.answerOf(name, { sinceMs });
        gapsMs.push(answeredMs - sinceMs);
      }
      expect(median(gapsMs), JSON.stringify(gapsMs)).toBeLessThan(1000);
      expect(watch.overlapsMs(monotonicMs())).toEqual([]);
      expect(watch.history.length).toBeGreaterThan(rounds);
    } finally {
      watch[Symbol.dispose]();
    }
  });

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
