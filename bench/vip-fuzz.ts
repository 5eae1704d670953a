/**
 * A soak of the decoders of virtual IPs (ARP, neighbour discovery, BGP, BFD, netlink) with mutated real packets.
 * Options: `--packets <n>` for each decoder (default 1,000,000), `--seed <n>` (default 1), `--only <name>,…`.
 *
 * A decoder that throws ends the soak with the packet in hex. What is slow may be the machine or the garbage collector;
 * so a packet slower than 0.5 ms is decoded ten times more, and its best time counts.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { judgeNetlink, kernelNetlinkCorpus, netlinkCorpus } from '../test/internal/netlink-corpus.js';
import { bfdCorpus, judgeBfd } from '../test/vip/bfd/corpus.js';
import { bgpCorpus } from '../test/vip/bgp/corpus.js';
import { arpCorpus, judgeArp, judgeNeighbor, neighborCorpus } from '../test/vip/l2/corpus.js';
import { mutate } from '../test/vip/mutate.js';
import { printRows } from './failover/report.js';
import { judgeBgp, moreBgpMessages } from './vip-fuzz/bgp.js';

const argument = (name: string): string | undefined => {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
};
const packets = Number(argument('--packets') ?? 1_000_000);
const seed = Number(argument('--seed') ?? 1);
const only = argument('--only')?.split(',');
const batch = 1000;
const slowMs = 0.5;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** After a collection. Resident memory may grow by what the collector keeps for later; the heap says whether anything leaks. */
const memoryMib = (): { readonly rss: number; readonly heap: number } => {
  collect();
  const { rss, heapUsed } = process.memoryUsage();
  return { rss: rss / 2 ** 20, heap: heapUsed / 2 ** 20 };
};

interface Decoder {
  readonly name: string;
  readonly corpus: readonly Uint8Array[];
  /** Total: gives what became of the packet. */
  readonly judge: (bytes: Uint8Array) => string;
}

const decoders: readonly Decoder[] = [
  { name: 'ARP', corpus: arpCorpus(), judge: judgeArp },
  { name: 'neighbour discovery', corpus: neighborCorpus(), judge: judgeNeighbor },
  { name: 'BGP', corpus: [...bgpCorpus(), ...moreBgpMessages()], judge: judgeBgp },
  { name: 'BFD', corpus: bfdCorpus(), judge: judgeBfd },
  { name: 'netlink', corpus: [...netlinkCorpus(), ...(await kernelNetlinkCorpus())], judge: judgeNetlink },
];

/** Decodes, and gives the time it took; ends the program when the decoder throws. */
function timed({ name, judge }: Decoder, bytes: Uint8Array, counts: Map<string, number>): number {
  const copy = bytes.slice();
  const startedMs = performance.now();
  try {
    const what = judge(bytes);
    counts.set(what, (counts.get(what) ?? 0) + 1);
  } catch (error) {
    process.stderr.write(`${name} throws for ${Buffer.from(copy).toString('hex')}\n`);
    throw error;
  }
  const tookMs = performance.now() - startedMs;
  if (tookMs < slowMs) return tookMs;
  const again = Array.from({ length: 10 }, () => {
    const repeatedMs = performance.now();
    judge(copy.slice());
    return performance.now() - repeatedMs;
  });
  const bestMs = Math.min(tookMs, ...again);
  if (bestMs >= slowMs) {
    process.stderr.write(`${name} takes ${bestMs.toFixed(2)} ms for ${Buffer.from(copy).toString('hex')}\n`);
  }
  return bestMs;
}

function soak(decoder: Decoder): Readonly<Record<string, string | number>> {
  const counts = new Map<string, number>();
  // Once for the compiler, so that the memory before is that of a warm process.
  for (const bytes of mutate(decoder.corpus, seed, 50_000)) decoder.judge(bytes);
  const before = memoryMib();
  const startedMs = performance.now();
  let slowest = 0;
  for (let done = 0, round = 0; done < packets; done += batch, round += 1) {
    for (const bytes of mutate(decoder.corpus, seed + round, Math.min(batch, packets - done))) {
      slowest = Math.max(slowest, timed(decoder, bytes, counts));
    }
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const after = memoryMib();
  const reasons = [...counts].sort(([, a], [, b]) => b - a);
  printRows(
    `${decoder.name}: what became of the packets`,
    reasons.map(([reason, count]) => ({ '': reason, packets: count, percent: (100 * count) / packets })),
  );
  return {
    '': decoder.name,
    packets,
    'taken as they are': counts.get('ok') ?? '',
    reasons: counts.size,
    'slowest ms': slowest.toFixed(2),
    'RSS MiB before': before.rss,
    after: after.rss,
    'heap MiB before': before.heap,
    'and after': after.heap,
    seconds,
  };
}

const rows = decoders.filter(({ name }) => only === undefined || only.includes(name)).map((decoder) => soak(decoder));
printRows('Soak of the decoders with mutated packets; none threw', rows);
