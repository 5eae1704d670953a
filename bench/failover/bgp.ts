/** BGP with BFD behind a router: nodes that are killed, and nodes that leave in order. */
import { setTimeout as delay } from 'node:timers/promises';
import { RequestLoop } from '../../test/vip/peers/request-loop.js';
import { until } from '../../test/vip/peers/until.js';
import { AskingClient, monotonicMs } from './client.js';
import type { FailoverSample } from './report.js';
import { servePort } from './requesting.js';
import type { Group, RoutedRig } from './routed-rig.js';

/** Kills, or freezes, that one of two nodes which the client is answered by. */
export async function crash(rig: RoutedRig, group: Group, how: 'kill' | 'freeze'): Promise<FailoverSample> {
  await group.ready();
  using client = new AskingClient(rig.client, group.vip);
  const owner = await currentOwner(client);
  await delay(Math.random() * 100);
  const sinceMs = monotonicMs();
  group[how](owner);
  const { answeredMs } = await client.answerOf(group.other(owner), { sinceMs });
  await delay(50);
  if (how === 'freeze') group.kill(owner);
  return { failoverMs: answeredMs - sinceMs, lost: client.unanswered(sinceMs, answeredMs).length };
}

export interface LeaveSample {
  /** Datagrams, one every millisecond from one port, and how many of them got no answer. */
  readonly asked: number;
  readonly lost: number;
  /** HTTP requests, each on a connection of its own: eight at a time answered at once, and 32 at a time after 20 ms. */
  readonly requests: number;
  readonly failures: readonly string[];
  /** The slowest of those that were answered, and how many took longer than half a second. */
  readonly longestMs: number;
  readonly waited: number;
  /** The route changed more often than for the departure: the machine was so busy that BFD declared a node down which was there. */
  readonly disturbed: boolean;
  /** Connections were open when their time (`quiesceMs`) was over. */
  readonly late: boolean;
}

/** Ends a node in order, under load that the router spreads over all: the `leaving` one, or that which answers datagrams. */
export async function leave(rig: RoutedRig, group: Group, leaving?: number): Promise<LeaveSample> {
  await group.ready();
  using client = new AskingClient(rig.client, group.vip, 1);
  const clients = [
    new RequestLoop(rig.client, { ip: group.vip, port: servePort, atOnce: 8 }),
    new RequestLoop(rig.client, { ip: group.vip, port: servePort, atOnce: 32, path: '/20' }),
  ];
  const owner = await currentOwner(client);
  await delay(300);
  const sinceMs = monotonicMs();
  const changes = rig.routeChanges(group.vip);
  const stopped = await group.stop(leaving === undefined ? owner : (group.nodes[leaving]?.name ?? ''));
  const left = group.nodes.length - 1;
  await until('the router has one path less', async () => (await rig.pathCount(group.vip)) === left, { everyMs: 20 });
  // Until the last SYN has been sent again.
  await delay(1500);
  const untilMs = monotonicMs() - 200;
  const requested = await Promise.all(clients.map((each) => each.end()));
  return {
    lost: client.unanswered(sinceMs, untilMs).length,
    asked: client.asked.filter((askedMs) => askedMs >= sinceMs && askedMs < untilMs).length,
    requests: requested.flatMap(({ answered, failures }) => [...Object.values(answered), failures.length]).reduce(sum),
    failures: requested.flatMap(({ failures }) => failures),
    longestMs: Math.max(...requested.map(({ longestMs }) => longestMs)),
    waited: requested.map(({ waited }) => waited).reduce(sum),
    disturbed: rig.routeChanges(group.vip) !== changes + 1,
    late: stopped?.late === true,
  };
}

const sum = (a: number, b: number): number => a + b;

async function currentOwner(client: AskingClient): Promise<string> {
  await until('the client is answered', () => client.answers.length > 20, { everyMs: 20 });
  return client.answers.at(-1)?.from ?? '';
}
