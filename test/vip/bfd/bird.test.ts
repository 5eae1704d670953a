import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { BfdStatus } from '../../../src/vip/bfd/index.js';
import { median } from '../../support/median.js';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { Daemon } from '../peers/daemon.js';
import { until } from '../peers/until.js';
import { bfdIn } from './in-namespace.js';
import { fastTimers, routedLab } from './routed-lab.js';

const router = `
router id 10.20.0.254;
timeformat protocol iso short ms;
protocol device { scan time 2; }
protocol bfd b1 {
  interface "br0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; };
  multihop { interval 100 ms; multiplier 3; };
  neighbor 10.20.0.1 dev "br0" local 10.20.0.254;
  neighbor fd20::1 dev "br0" local fd20::254;
}
`;
const far = `
router id 10.30.0.1;
protocol device { scan time 2; }
protocol bfd b1 {
  multihop { interval 100 ms; multiplier 3; };
  neighbor 10.20.0.1 local 10.30.0.1 multihop on;
  neighbor fd20::1 local fd30::1 multihop on;
}
`;
const near = [
  { peer: '10.20.0.254', local: '10.20.0.1', mode: 'auto', ...fastTimers },
  { peer: 'fd20::254', local: 'fd20::1', interface: 'eth0', mode: 'single-hop', ...fastTimers },
] as const;

/** On a busy machine a timer may be late; the detection time itself is 300 ms. */
const latenessMs = 150;

interface BirdSession {
  readonly state: string;
  /** Of the last change: `hh:mm:ss.mmm`. */
  readonly since: string;
  /** The detection time, in seconds. */
  readonly timeout: string;
}

/** What BIRD shows, by neighbour. */
async function sessions(bird: Bird): Promise<ReadonlyMap<string, BirdSession>> {
  const text = await bird.birdc('show bfd sessions');
  const rows = [...text.matchAll(/^([0-9a-f.:]+) +\S+ +(Up|Down|Init|AdminDown) +(\S+) +\S+ +(\S+)/gm)];
  return new Map(rows.map(([, peer = '', state = '', since = '', timeout = '']) => [peer, { state, since, timeout }]));
}

/** From `earlier` to a time of day that BIRD shows, in ms. */
function msUntil(shown: string, earlier: Date): number {
  const [hours = 0, minutes = 0, seconds = 0] = shown.split(':').map(Number);
  const midnight = new Date(earlier).setHours(0, 0, 0, 0);
  const ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 - (earlier.getTime() - midnight);
  return ms < -43_200_000 ? ms + 86_400_000 : ms;
}

/** Whether a session changed in between. BIRD reckons the time of day anew at each look: it moves with the system's clock. */
function haveChanged(before: ReadonlyMap<string, BirdSession>, after: ReadonlyMap<string, BirdSession>): boolean {
  const start = new Date();
  return [...before].some(([peer, { state, since }]) => {
    const now = after.get(peer);
    return now?.state !== state || Math.abs(msUntil(now.since, start) - msUntil(since, start)) > 200;
  });
}

const allUp = async (bird: Bird): Promise<boolean> => {
  const states = [...(await sessions(bird)).values()];
  return states.length > 0 && states.every(({ state }) => state === 'Up');
};

describeRequiring({ netns: true, native: true, commands: ['bird', 'birdc'] }, 'BFD with BIRD', () => {
  test('single hop, IPv4 and IPv6: up, no flap while the main thread is blocked for two seconds, and each end sees the other go', async () => {
    await using net = await routedLab();
    await using bird = await Bird.start(net.router, router);
    await using bfd = await bfdIn(net.node);
    const downs: BfdStatus[] = [];
    const own = near.map((options) =>
      bfd.add({ ...options, onChange: (status) => void (status.state === 'down' && downs.push(status)) }),
    );
    const allAgreed = (): Promise<unknown> =>
      until('all are up', async () => own.every(({ status }) => status.detectionTimeMs === 300) && (await allUp(bird)));
    await allAgreed();
    expect(own.map(({ status }) => status)).toMatchObject([
      { state: 'up', transport: 'single-hop', transmitIntervalMs: 100 },
      { state: 'up', transport: 'single-hop', transmitIntervalMs: 100 },
    ]);

    // On this thread, every stall would be a flap. A machine that itself stops for 300 ms may cause one all the same.
    for (let stall = 1; ; stall += 1) {
      const before = await sessions(bird);
      downs.length = 0;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const after = await sessions(bird);
      if (downs.length === 0 && !haveChanged(before, after)) break;
      expect(stall, `a flap at each of ${String(stall)} stalls`).toBeLessThan(4);
      await allAgreed();
    }

    const tookMs: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      downs.length = 0;
      const stoppedMs = performance.now();
      bird.signal('SIGSTOP');
      await until('both are down', () => own.every(({ state }) => state === 'down'), { everyMs: 2 });
      tookMs.push(performance.now() - stoppedMs);
      expect(downs.map(({ diagnostic }) => diagnostic)).toEqual(['detection-time-expired', 'detection-time-expired']);
      bird.signal('SIGCONT');
      await allAgreed();
    }
    expect(median(tookMs), JSON.stringify(tookMs)).toBeLessThan(300 + latenessMs);

    await own[0]?.close();
    await until('BIRD was told', async () => (await sessions(bird)).get('10.20.0.1')?.state === 'Down');
    expect((await sessions(bird)).get('fd20::1')?.state).toBe('Up');
    // Nothing that BIRD sends is refused, apart from what still named the session that was closed.
    expect(Object.keys(bfd.refusals).filter((reason) => !/-unknown$/.test(reason))).toEqual([]);
  });

  test.each(['SIGSTOP', 'SIGKILL'] as const)(
    'BIRD sees our process go by %s within the detection time',
    async (signal) => {
      await using net = await routedLab();
      await using bird = await Bird.start(net.router, router);
      const program = fileURLToPath(new URL('./bfd-process.ts', import.meta.url));
      const child = new Daemon(net.node, process.execPath, ['--import', 'tsx', program, JSON.stringify(near)]);
      const agreed = async (): Promise<boolean> =>
        (await allUp(bird)) && [...(await sessions(bird)).values()].every(({ timeout }) => Number(timeout) === 0.3);
      await until('all are up, with the timers that were agreed', agreed, { seen: () => child.output });
      const signalled = new Date();
      child.signal(signal);
      await until('BIRD sees it', async () =>
        [...(await sessions(bird)).values()].every(({ state }) => state === 'Down'),
      );
      // By BIRD's own word: to ask it takes a while where the machine is busy.
      const tookMs = [...(await sessions(bird)).values()].map(({ since }) => msUntil(since, signalled));
      expect(tookMs).toHaveLength(2);
      expect(Math.min(...tookMs), JSON.stringify(tookMs)).toBeGreaterThan(0);
      expect(Math.max(...tookMs), JSON.stringify(tookMs)).toBeLessThan(300 + latenessMs);
      await child.stop('SIGKILL');
    },
  );

  // BIRD sends multihop packets with the default TTL of the kernel, 64: 63 are left behind one router.
  test('multihop through a router, IPv4 and IPv6, and no further than minTtl', async () => {
    await using net = await routedLab();
    await using bird = await Bird.start(net.far, far);
    await using bfd = await bfdIn(net.node);
    const own = [
      bfd.add({ peer: '10.30.0.1', local: '10.20.0.1', mode: 'multihop', minTtl: 63, ...fastTimers }),
      bfd.add({ peer: 'fd30::1', local: 'fd20::1', mode: 'multihop', minTtl: 63, ...fastTimers }),
    ];
    await until('all are up', async () => own.every(({ state }) => state === 'up') && (await allUp(bird)));
    await Promise.all(own.map((session) => session.close()));
    // A peer that is one hop further than it may be: never heard.
    const far4 = bfd.add({ peer: '10.30.0.1', local: '10.20.0.1', mode: 'multihop', minTtl: 64, ...fastTimers });
    await until('its packets are dropped', () => (bfd.refusals.filtered ?? 0) > 0);
    expect(far4.status).toMatchObject({ state: 'down', remoteDiscriminator: 0 });
  });

  test('and tshark finds nothing wrong in what is sent', async () => {
    await using net = await routedLab();
    const tshark = new Daemon(net.router, 'tshark', [
      ...['-i', 'br0', '-l', '-f', 'udp port 3784 or udp port 4784', '-T', 'fields', '-E', 'separator=,'],
      ...['-e', 'ip.src', '-e', 'ipv6.src', '-e', 'bfd.version', '-e', 'bfd.sta', '-e', 'ip.ttl', '-e', 'ipv6.hlim'],
      ...['-e', 'udp.srcport', '-e', '_ws.malformed', '-e', '_ws.expert.message', '-e', 'udp.checksum.status'],
    ]);
    await until('it captures', () => /Capturing on/.test(tshark.output));
    await using bird = await Bird.start(net.router, router);
    const bfd = await bfdIn(net.node);
    const own = near.map((options) => bfd.add(options));
    await until('all are up', async () => own.every(({ state }) => state === 'up') && (await allUp(bird)));
    own[0]?.changeTimers({ ...fastTimers, txIntervalMs: 150 });
    const sent = (): string[][] =>
      tshark.output
        .split('\n')
        .map((line) => line.split(','))
        .filter((fields) => fields[0] === '10.20.0.1' || fields[1] === 'fd20::1');
    await until('two dozen packets were seen', () => sent().length > 24, { seen: () => tshark.output });
    await bfd.close();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await tshark.stop('SIGINT');
    const rows = sent();
    for (const [v4, v6, version, state, ttl, hops, port, malformed, expert] of rows) {
      expect([version, v4 === '' ? hops : ttl, malformed, expert]).toEqual(['1', '255', '', '']);
      expect(Number(port)).toBeGreaterThanOrEqual(49_152);
      expect(['0x00', '0x01', '0x02', '0x03', '0', '1', '2', '3'], `${v4 ?? ''}${v6 ?? ''}`).toContain(state);
    }
    // A source port of its own for each session.
    expect(new Set(rows.map((fields) => fields[6])).size).toBe(2);
  });
});
