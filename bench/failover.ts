/**
 * How long clients of a virtual IP wait when its node is killed, or leaves in order, with BIRD and keepalived beside it.
 * Options: `--rounds <n>` (default 10), `--only bgp|leave|l2|handover|many`. Needs root, bird, keepalived and etcd.
 */
import { crash, leave } from './failover/bgp.js';
import type { LeaveSample } from './failover/bgp.js';
import { keepalivedFailover } from './failover/keepalived.js';
import { Layer2Rig } from './failover/layer2.js';
import { addressCount, manyByBgp, manyByLayer2 } from './failover/many.js';
import { printFailovers, printRows, summarize } from './failover/report.js';
import type { FailoverSample } from './failover/report.js';
import { RoutedRig, birdAnnouncer, meshwrightAnnouncer } from './failover/routed-rig.js';

const argument = (name: string): string | undefined => {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
};
const rounds = Number(argument('--rounds') ?? 10);
const only = argument('--only');
const wanted = (part: string): boolean => only === undefined || only.split(',').includes(part);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

// Namespaces, daemons and their directories go with the process, if it exits and is not ended by the signal.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

/** Contenders take turns in every round, and in the next in the opposite order. */
async function takeTurns<Sample>(
  title: string,
  contenders: readonly { readonly name: string; run(): Promise<Sample> }[],
): Promise<ReadonlyMap<string, readonly Sample[]>> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, run } of round % 2 === 0 ? contenders.toReversed() : contenders) {
      samples.get(name)?.push(await run());
    }
    progress(`${title}: round ${String(round)} of ${String(rounds)}`);
  }
  return samples;
}

async function routed(): Promise<void> {
  await using rig = await RoutedRig.create(4);
  const ours = rig.pair(1, '203.0.113.10', meshwrightAnnouncer);
  const birds = rig.pair(3, '203.0.113.20', birdAnnouncer);
  if (wanted('bgp')) {
    for (const [how, what] of [
      ['kill', 'SIGKILL of what announces and answers (the kernel still closes its connections)'],
      ['freeze', 'SIGSTOP of them, as when the machine vanishes (only BFD can tell)'],
    ] as const) {
      const samples = await takeTurns<FailoverSample>(`BGP with BFD, ${how}`, [
        { name: 'Meshwright, BFD 100 ms x 3', run: () => crash(rig, ours, how) },
        { name: 'BIRD, BFD 100 ms x 3', run: () => crash(rig, birds, how) },
      ]);
      printFailovers(
        `BGP with BFD: ${what}, to the first answer of the other node, a probe every 10 ms`,
        [...samples].map(([name, each]) => summarize(name, each)),
      );
    }
  }
  if (wanted('leave')) {
    const samples = await takeTurns('BGP, orderly', [
      { name: 'Meshwright, 500 ms of GRACEFUL_SHUTDOWN', run: () => leave(rig, ours) },
      { name: 'BIRD, SIGTERM', run: () => leave(rig, birds) },
    ]);
    printRows(
      'BGP: one of two nodes leaves in order',
      [...samples].map(([name, each]) => {
        const total = (count: (sample: LeaveSample) => number): number =>
          each.reduce((sum, sample) => sum + count(sample), 0);
        return {
          '': name,
          datagrams: total(({ asked }) => asked),
          lost: total(({ lost }) => lost),
          'HTTP requests': total(({ requests }) => requests),
          failed: total(({ failures }) => failures.length),
          'as in': each.flatMap(({ failures }) => failures)[0] ?? '',
          rounds: each.length,
        };
      }),
    );
  }
}

async function layer2(): Promise<void> {
  await using rig = await Layer2Rig.create();
  for (const [part, how, what] of [
    ['l2', 'kill', 'SIGKILL of the owner’s manager and server'],
    ['handover', 'stop', 'the owner’s manager ends in order'],
  ] as const) {
    if (!wanted(part)) continue;
    const samples = await takeTurns<FailoverSample>(`layer 2, ${how}`, [
      { name: 'Meshwright, leases of 1.2 s in etcd', run: () => rig.failover(how) },
      { name: 'keepalived, default (1 s, VRRP 2)', run: () => keepalivedFailover({ how }) },
      { name: 'keepalived, 0.1 s, VRRP 3', run: () => keepalivedFailover({ how, advertSeconds: 0.1 }) },
    ]);
    printFailovers(
      `layer 2: ${what}, to the first answer of the other node, a probe every 10 ms`,
      [...samples].map(([name, each]) => summarize(name, each)),
    );
  }
}

async function many(): Promise<void> {
  const rows = [...(await manyByBgp()), await manyByLayer2()];
  printRows(
    `${String(addressCount)} virtual IPs on one node`,
    rows.map((row) => ({
      '': row.name,
      'apply() ms': row.applyMs ?? '',
      'all announced ms': row.allMs,
      'RSS MiB': row.residentMib,
      'CPU at rest %': row.restCpuPercent.toFixed(2),
    })),
  );
}

if (wanted('bgp') || wanted('leave')) await routed();
if (wanted('l2') || wanted('handover')) await layer2();
if (wanted('many')) await many();
