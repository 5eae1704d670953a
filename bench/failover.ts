/**
 * How long clients of a virtual IP wait when its node is killed, or leaves in order, with BIRD and keepalived beside it.
 * Options: `--rounds <n>` (default 10), `--only bgp|leave|leave-three|l2|handover|many`. Needs root, bird, keepalived and etcd.
 */
import { crash, leave } from './failover/bgp.js';
import type { LeaveSample } from './failover/bgp.js';
import { keepalivedFailover } from './failover/keepalived.js';
import { Layer2Rig } from './failover/layer2.js';
import { addressCount, manyByBgp, manyByLayer2 } from './failover/many.js';
import { printFailovers, printLeaves, printRows, summarize } from './failover/report.js';
import type { FailoverSample } from './failover/report.js';
import { RoutedRig, birdAnnouncer, meshwrightAnnouncer } from './failover/routed-rig.js';
import type { RouterOptions } from './failover/routed-rig.js';

const argument = (name: string): string | undefined => {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
};
const rounds = Number(argument('--rounds') ?? 10);
const only = argument('--only');
const wanted = (part: string): boolean => only === undefined || only.split(',').includes(part);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** Prints what is known of the comparison that runs. */
let printPartial = (): void => undefined;

// Namespaces, daemons and their directories go with the process, if it exits and is not ended by the signal.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    printPartial();
    process.exit(130);
  });
}

/**
 * Contenders take turns in every round, and in the next in the opposite order. Prints what came of it, also when it fails or
 * is interrupted half-way.
 */
async function takeTurns<Sample>(
  title: string,
  contenders: readonly { readonly name: string; run(): Promise<Sample> }[],
  print: (samples: ReadonlyMap<string, readonly Sample[]>) => void,
): Promise<void> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  printPartial = () => {
    printPartial = () => undefined;
    const begun = [...samples].filter(([, each]) => each.length > 0);
    if (begun.length > 0) print(new Map(begun));
  };
  try {
    for (let round = 1; round <= rounds; round += 1) {
      for (const { name, run } of round % 2 === 0 ? contenders.toReversed() : contenders) {
        samples.get(name)?.push(await run());
      }
      progress(`${title}: round ${String(round)} of ${String(rounds)}`);
    }
  } finally {
    printPartial();
  }
}

async function routed(): Promise<void> {
  await using rig = await RoutedRig.create(4);
  const ours = rig.group(1, '203.0.113.10', meshwrightAnnouncer());
  const birds = rig.group(3, '203.0.113.20', birdAnnouncer);
  for (const [how, what] of [
    ['kill', 'SIGKILL of what announces and answers (the kernel still closes its connections)'],
    ['freeze', 'SIGSTOP of them, as when the machine vanishes (only BFD can tell)'],
  ] as const) {
    await takeTurns<FailoverSample>(
      `BGP with BFD, ${how}`,
      [
        { name: 'Meshwright, BFD 100 ms x 3', run: () => crash(rig, ours, how) },
        { name: 'BIRD, BFD 100 ms x 3', run: () => crash(rig, birds, how) },
      ],
      (samples) =>
        printFailovers(
          `BGP with BFD: ${what}, to the first answer of the other node, a probe every 10 ms`,
          [...samples].map(([name, each]) => summarize(name, each)),
        ),
    );
  }
}

const print = (title: string) => (samples: ReadonlyMap<string, readonly LeaveSample[]>) =>
  printLeaves(`BGP: a node leaves in order, ${title}`, samples);

async function leaving(): Promise<void> {
  {
    await using rig = await RoutedRig.create(6);
    const held = rig.group(1, '203.0.113.10', meshwrightAnnouncer());
    const cut = rig.group(3, '203.0.113.20', meshwrightAnnouncer({ quiesce: false }));
    const birds = rig.group(5, '203.0.113.30', birdAnnouncer);
    await takeTurns(
      'BGP, orderly, two nodes',
      [
        { name: 'Meshwright, new connections held', run: () => leave(rig, held) },
        { name: 'Meshwright, without', run: () => leave(rig, cut) },
        { name: 'BIRD, SIGTERM', run: () => leave(rig, birds) },
      ],
      print('one of two'),
    );
  }
  {
    await using rig = await RoutedRig.create(4, { honoursShutdown: true });
    const held = rig.group(1, '203.0.113.10', meshwrightAnnouncer({ drainMs: 500 }));
    const cut = rig.group(3, '203.0.113.20', meshwrightAnnouncer({ drainMs: 500, quiesce: false }));
    await takeTurns(
      'BGP, orderly, two nodes, GRACEFUL_SHUTDOWN',
      [
        { name: 'Meshwright, new connections held', run: () => leave(rig, held) },
        { name: 'Meshwright, without', run: () => leave(rig, cut) },
      ],
      print('one of two, 500 ms after GRACEFUL_SHUTDOWN, which the router honours'),
    );
  }
}

async function leavingOfThree(): Promise<void> {
  for (const [options, what] of [
    [{}, 'hash threshold, the default of Linux'],
    [{ resilient: true }, 'resilient nexthop groups'],
  ] as const satisfies readonly (readonly [RouterOptions, string])[]) {
    await using rig = await RoutedRig.create(3, options);
    const held = rig.group(1, '203.0.113.10', meshwrightAnnouncer(), 3);
    await takeTurns(
      `BGP, orderly, three nodes, ${what}`,
      [
        { name: 'Meshwright, held, the first leaves', run: () => leave(rig, held, 0) },
        { name: 'Meshwright, held, the middle one', run: () => leave(rig, held, 1) },
        { name: 'Meshwright, held, the last', run: () => leave(rig, held, 2) },
      ],
      print(`one of three, a router with ${what}`),
    );
  }
}

async function layer2(): Promise<void> {
  await using rig = await Layer2Rig.create();
  await using controlled = await Layer2Rig.create('controller');
  for (const [part, how, what] of [
    ['l2', 'kill', 'SIGKILL of the owner’s manager and server'],
    ['handover', 'stop', 'the owner’s manager ends in order'],
  ] as const) {
    if (!wanted(part)) continue;
    await takeTurns<FailoverSample>(
      `layer 2, ${how}`,
      [
        { name: 'Meshwright, leases of 1.2 s in etcd', run: () => rig.failover(how) },
        { name: 'Meshwright, at the controller', run: () => controlled.failover(how) },
        { name: 'keepalived, default (1 s, VRRP 2)', run: () => keepalivedFailover({ how }) },
        { name: 'keepalived, 0.1 s, VRRP 3', run: () => keepalivedFailover({ how, advertSeconds: 0.1 }) },
      ],
      (samples) =>
        printFailovers(
          `layer 2: ${what}, to the first answer of the other node, a probe every 10 ms`,
          [...samples].map(([name, each]) => summarize(name, each)),
        ),
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

if (wanted('bgp')) await routed();
if (wanted('leave')) await leaving();
if (wanted('leave') || wanted('leave-three')) await leavingOfThree();
if (wanted('l2') || wanted('handover')) await layer2();
if (wanted('many')) await many();
