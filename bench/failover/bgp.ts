/** BGP with BFD behind a router: nodes that are killed, and nodes that leave in order. */
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../test/vip/peers/until.js';
import { AskingClient, monotonicMs } from './client.js';
import type { FailoverSample } from './report.js';
import { RequestingClient } from './requesting.js';
import type { Pair, RoutedRig } from './routed-rig.js';

/** Kills, or freezes, the node that the client is answered by. */
export async function crash(rig: RoutedRig, pair: Pair, how: 'kill' | 'freeze'): Promise<FailoverSample> {
  await pair.ready();
  using client = new AskingClient(rig.client, pair.vip);
  const owner = await currentOwner(client);
  await delay(Math.random() * 100);
  const sinceMs = monotonicMs();
  pair[how](owner);
  const { answeredMs } = await client.answerOf(pair.other(owner), { sinceMs });
  await delay(50);
  if (how === 'freeze') pair.kill(owner);
  return { failoverMs: answeredMs - sinceMs, lost: client.unanswered(sinceMs, answeredMs).length };
}

export interface LeaveSample {
  /** Datagrams, one every millisecond from one port, and how many of them got no answer. */
  readonly asked: number;
  readonly lost: number;
  /** HTTP requests, eight at a time, each on a connection of its own. */
  readonly requests: number;
  readonly failures: readonly string[];
}

/** Ends one of two nodes in order, under load that the router spreads over both. */
export async function leave(rig: RoutedRig, pair: Pair): Promise<LeaveSample> {
  await pair.ready();
  using client = new AskingClient(rig.client, pair.vip, 1);
  const requesting = new RequestingClient(rig.client, pair.vip, 8);
  const owner = await currentOwner(client);
  await delay(300);
  const sinceMs = monotonicMs();
  await pair.stop(owner);
  await until('the router has one path', async () => (await rig.pathCount(pair.vip)) === 1, { everyMs: 20 });
  await client.answerOf(pair.other(owner), { sinceMs });
  await delay(500);
  const untilMs = monotonicMs() - 200;
  const { answered, failures } = await requesting.end();
  return {
    lost: client.unanswered(sinceMs, untilMs).length,
    asked: client.asked.filter((askedMs) => askedMs >= sinceMs && askedMs < untilMs).length,
    requests: Object.values(answered).reduce((sum, count) => sum + count, 0),
    failures,
  };
}

async function currentOwner(client: AskingClient): Promise<string> {
  await until('the client is answered', () => client.answers.length > 20, { everyMs: 20 });
  return client.answers.at(-1)?.from ?? '';
}
