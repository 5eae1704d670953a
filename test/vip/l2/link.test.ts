// On a real segment: what the kernels of other stations believe, and what is on the wire.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { LinkAgent, Segment, neighbour } from './support/segment.js';
import type { Station } from './support/segment.js';

const needs = { netns: true, native: true, commands: ['bash', 'arping', 'setpriv'] };
const claimOnce = fileURLToPath(new URL('./support/claim-once.ts', import.meta.url));
const hostileStation = fileURLToPath(new URL('./support/hostile-station.ts', import.meta.url));
const run = promisify(execFile);
const vips = { 4: '10.20.0.100', 6: 'fd20::100' } as const;
const families = [4, 6] as const;
/** At once, and not by the next of a burst, which comes after a second: what lies between is what a busy machine may take to look. */
const atOnce = { interval: 5, timeout: 900 } as const;

/** Makes the station's kernel ask for `ip` and remember the answer. */
async function learn(station: Station, ip: string): Promise<void> {
  await station.namespace.exec('bash', ['-c', `echo x > /dev/udp/${ip}/9`]);
}

async function give(station: Station, ip: string): Promise<void> {
  await station.namespace.address('eth0', ip.includes(':') ? `${ip}/64` : `${ip}/24`);
}

async function take(station: Station, ip: string): Promise<void> {
  await station.namespace.ip('address', 'del', ip.includes(':') ? `${ip}/64` : `${ip}/24`, 'dev', 'eth0');
}

async function interfaceIndex(station: Station): Promise<string> {
  return /^(\d+):/.exec(await station.namespace.ip('link', 'show', 'eth0'))?.[1] ?? '';
}

describeRequiring(needs, 'a link', () => {
  let segment: Segment;
  let [a, b, client]: Station[] = [];
  let [agentA, agentB]: LinkAgent[] = [];

  function all(): { a: Station; b: Station; client: Station; agentA: LinkAgent; agentB: LinkAgent } {
    if (!a || !b || !client || !agentA || !agentB) throw new Error('the segment is not ready');
    return { a, b, client, agentA, agentB };
  }

  beforeAll(async () => {
    segment = await Segment.make();
    [a, b, client] = [await segment.station('a'), await segment.station('b'), await segment.station('client')];
    [agentA, agentB] = [await LinkAgent.start(a), await LinkAgent.start(b)];
  });
  afterAll(() => segment?.[Symbol.asyncDispose]());

  test.each(families)('a probe finds whose kernel has the address, and that nobody has it (IPv%i)', async (family) => {
    const { agentA, b } = all();
    const ip = vips[family];
    expect(await agentA.probe(ip)).toEqual({ free: true });
    await give(b, ip);
    expect(await agentA.probe(ip)).toEqual({ free: false, mac: b.mac, by: 'owner' });
    await take(b, ip);
    expect(await agentA.probe(ip)).toEqual({ free: true });
  });

  test.each(families)('what this machine has itself is free: nobody else has it (IPv%i)', async (family) => {
    const { a, agentA } = all();
    await give(a, vips[family]);
    expect(await agentA.probe(vips[family])).toEqual({ free: true });
    await take(a, vips[family]);
  });

  test.each(families)(
    'of two that probe at the same time, at most one is told that it is free (IPv%i)',
    async (family) => {
      const { agentA, agentB } = all();
      for (let round = 0; round < 5; round += 1) {
        const results = await Promise.all([agentA.probe(vips[family]), agentB.probe(vips[family])]);
        expect(results.filter(({ free }) => free).length).toBeLessThanOrEqual(1);
        expect(results).toContainEqual(expect.objectContaining({ free: false, by: 'prober' }));
      }
    },
  );

  test.each(families)('an announcement moves what a client’s kernel believes, at once (IPv%i)', async (family) => {
    const { a, b, agentA, agentB, client } = all();
    const ip = vips[family];
    await give(a, ip);
    await learn(client, ip);
    await expect.poll(() => neighbour(client, ip)).toBe(a.mac);
    await take(a, ip);
    await give(b, ip);
    // Control: without an announcement the client stays where it is.
    await new Promise((resolve) => void setTimeout(resolve, 300));
    expect(await neighbour(client, ip)).toBe(a.mac);
    await agentB.tell({ op: 'announce', ip });
    await expect.poll(() => neighbour(client, ip), atOnce).toBe(b.mac);
    await agentB.tell({ op: 'stop', ip });
    // And back.
    await take(b, ip);
    await give(a, ip);
    await agentA.tell({ op: 'announce', ip });
    await expect.poll(() => neighbour(client, ip), atOnce).toBe(a.mac);
    await agentA.tell({ op: 'stop', ip });
    await take(a, ip);
  });

  test.each(families)('a client with a wrong entry is corrected by the burst alone (IPv%i)', async (family) => {
    const { a, agentA, client } = all();
    const ip = vips[family];
    await agentA.tell({ op: 'announce', ip });
    await client.namespace.ip('neigh', 'replace', ip, 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0', 'nud', 'stale');
    // The last of it comes after five seconds, the next repeat after thirty.
    await expect.poll(() => neighbour(client, ip), { timeout: 4500 }).toBe(a.mac);
    await agentA.tell({ op: 'stop', ip });
  });

  test.each(families)(
    'a link that comes up again announces anew, in the same or another incarnation (IPv%i)',
    async (family) => {
      const { a, agentA, client } = all();
      const ip = vips[family];
      await agentA.tell({ op: 'announce', ip });
      // Past the burst, so that nothing else would correct the client for half a minute.
      await new Promise((resolve) => void setTimeout(resolve, 5500));
      const spoil = (): Promise<string> =>
        client.namespace.ip('neigh', 'replace', ip, 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0', 'nud', 'stale');
      await spoil();
      await segment.switch.ip('link', 'set', segment.port(a), 'down');
      await expect.poll(async () => (await agentA.events('vip.l2-link')).at(-1)?.up).toBe(false);
      await expect(agentA.probe('10.20.0.101')).rejects.toMatchObject({ code: 'VIP_L2_LINK_DOWN' });
      await segment.switch.ip('link', 'set', segment.port(a), 'up');
      await expect.poll(() => neighbour(client, ip), { interval: 20 }).toBe(a.mac);

      // The interface itself goes down and up: the kernel reports an error on the sockets, which must go on hearing.
      await a.namespace.ip('link', 'set', 'eth0', 'down');
      await spoil();
      await a.namespace.ip('link', 'set', 'eth0', 'up');
      await expect.poll(() => neighbour(client, ip), { interval: 20 }).toBe(a.mac);

      // Gone, and another of the same name.
      await a.namespace.ip('link', 'del', 'eth0');
      await expect.poll(async () => (await agentA.events('vip.l2-link')).at(-1)?.present).toBe(false);
      await spoil();
      await segment.lab.link(
        { namespace: segment.switch, device: segment.port(a), bridge: 'br0' },
        { namespace: a.namespace, device: 'eth0', mac: a.mac, addresses: [`${a.ip4}/24`, `${a.ip6}/64`] },
      );
      await expect.poll(() => neighbour(client, ip), { interval: 20 }).toBe(a.mac);
      await agentA.tell({ op: 'stop', ip });
      await give(client, ip);
      expect(await agentA.probe(ip)).toMatchObject({ free: false, mac: client.mac });
      await take(client, ip);
    },
  );

  test('a change of the MAC address is announced', async () => {
    const { a, agentA, client } = all();
    const ip = vips[4];
    await agentA.tell({ op: 'announce', ip });
    await client.namespace.ip('neigh', 'replace', ip, 'lladdr', a.mac, 'dev', 'eth0', 'nud', 'stale');
    await a.namespace.ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:aa');
    await expect.poll(() => neighbour(client, ip), { interval: 20, timeout: 700 }).toBe('02:00:00:00:00:aa');
    await a.namespace.ip('link', 'set', 'eth0', 'address', a.mac);
    await expect.poll(() => neighbour(client, ip), { interval: 20, timeout: 700 }).toBe(a.mac);
    await agentA.tell({ op: 'stop', ip });
  });

  test.each(families)('a conflict is defended once, and its going on is reported (IPv%i)', async (family) => {
    const { a, agentA, agentB, b, client } = all();
    const ip = vips[family];
    const already = ((await agentA.tell({ op: 'conflicts' })) as unknown[]).length;
    await give(a, ip);
    await agentA.tell({ op: 'announce', ip });
    await client.namespace.ip('neigh', 'replace', ip, 'lladdr', a.mac, 'dev', 'eth0', 'nud', 'stale');
    if (family === 4) {
      const claim = ['-q', '-U', '-c', '1', '-i', 'eth0', '-S', ip, ip];
      await b.namespace.exec('arping', claim, { allowFailure: true });
    } else {
      const source = ['--conditions=meshwright-source', '--import', 'tsx', claimOnce];
      await b.namespace.exec(process.execPath, [...source, await interfaceIndex(b), b.mac, ip]);
    }
    await expect
      .poll(async () => (await agentA.events('vip.l2-conflict')).at(-1))
      .toMatchObject({ address: ip, mac: b.mac });
    // Answered at once: the client is with the owner again.
    await expect.poll(() => neighbour(client, ip), atOnce).toBe(a.mac);
    await agentB.tell({ op: 'announce', ip });
    await expect
      .poll(async () => ((await agentA.tell({ op: 'conflicts' })) as unknown[]).length)
      .toBeGreaterThan(already);
    expect(((await agentA.tell({ op: 'conflicts' })) as unknown[]).at(-1)).toEqual({ mac: b.mac });
    const defences = (await agentA.events('vip.l2-conflict')).filter((event) => event.address === ip && event.defended);
    expect(defences.length).toBe(1);
    for (const agent of [agentA, agentB]) await agent.tell({ op: 'stop', ip });
    await take(a, ip);
  });

  test('a flood of foreign ARP does not wake the process', async () => {
    const { agentA, client } = all();
    const ip = vips[4];
    await agentA.tell({ op: 'announce', ip });
    const flood = `
      import { createRequire } from 'node:module';
      const addon = createRequire(import.meta.url)(${JSON.stringify(prebuild)});
      const fd = addon.socket(17, 2, 0);
      const to = Buffer.alloc(20); to.writeUInt16LE(17, 0); to.writeUInt16BE(0x0806, 2);
      to.writeInt32LE(Number(process.argv[1]), 4); to[11] = 6; to.fill(255, 12, 18);
      const sender = process.argv[2].split('.').map(Number);
      const arp = Buffer.from([0,1,8,0,6,4,0,1, 2,0,0,0,0,3, ...sender, 0,0,0,0,0,0, 10,20,0,7]);
      let sent = 0;
      for (const until = performance.now() + 1500; performance.now() < until;) { try { if (addon.sendto(fd, arp, to) > 0) sent += 1; } catch {} }
      console.log(sent);`;
    const index = await interfaceIndex(client);
    const floodFrom = async (sender: string): Promise<{ sent: number; cpuMs: number }> => {
      const cpu = async () => (await agentA.tell({ op: 'cpu' })) as { user: number; system: number };
      const before = await cpu();
      const { stdout } = await client.namespace.exec(process.execPath, [
        '--input-type=module',
        '-e',
        flood,
        index,
        sender,
      ]);
      const after = await cpu();
      return { sent: Number(stdout), cpuMs: (after.user - before.user + after.system - before.system) / 1000 };
    };
    const foreign = await floodFrom('10.20.0.250');
    expect(foreign.sent).toBeGreaterThan(10_000);
    expect(foreign.cpuMs).toBeLessThan(150);
    // Even where it is all about our own address, only so much is looked at, and the rest is counted.
    const conflicting = await floodFrom(ip);
    expect(conflicting.cpuMs).toBeLessThan(700);
    const overloads = await agentA.events('vip.l2-overloaded');
    expect(overloads.reduce((sum, { dropped }) => sum + dropped, 0)).toBeGreaterThan(1000);
    expect(
      (await agentA.events('vip.l2-conflict')).filter((event) => event.defended && event.address === ip).length,
    ).toBeLessThanOrEqual(3);
    await agentA.tell({ op: 'stop', ip });
    await new Promise((resolve) => void setTimeout(resolve, 200));
    expect(await agentA.probe('10.20.0.111')).toEqual({ free: true });
  });

  test('a process that was stopped announces nothing for which it is not the owner any more', async () => {
    const { a, agentB, b, client } = all();
    const ip = vips[4];
    const agent = await LinkAgent.start(a, { announce: { burst: 100, burstIntervalMs: 100 } });
    await agent.tell({ op: 'announce', ip });
    await agent.tell({ op: 'own', owns: false });
    agent.process.kill('SIGSTOP');
    await give(b, ip);
    await agentB.tell({ op: 'announce', ip });
    await learn(client, ip);
    await expect.poll(() => neighbour(client, ip)).toBe(b.mac);
    agent.process.kill('SIGCONT');
    for (let look = 0; look < 20; look += 1) {
      await new Promise((resolve) => void setTimeout(resolve, 50));
      expect(await neighbour(client, ip)).toBe(b.mac);
    }
    await agent.kill();
    await agentB.tell({ op: 'stop', ip });
    await take(b, ip);
  });

  test('a hostile station’s malformed packets are counted by reason, and change nothing', async () => {
    const { agentA, client } = all();
    // The addresses that the packets speak of, so that they pass the filters.
    const ips = ['192.0.2.10', 'fd20::100'];
    for (const ip of ips) await agentA.tell({ op: 'announce', ip });
    const args = [
      '--conditions=meshwright-source',
      '--import',
      'tsx',
      hostileStation,
      await interfaceIndex(client),
      '4000',
    ];
    const { stdout } = await client.namespace.exec(process.execPath, args);
    expect(Number(stdout)).toBeGreaterThan(4000);
    const refused = await agentA.events('vip.l2-packet-refused');
    const reasons = new Set(refused.map(({ protocol, reason }) => `${protocol} ${reason}`));
    expect([...reasons]).toEqual(
      expect.arrayContaining([
        'arp hardware-type',
        'arp protocol-type',
        'arp operation',
        'nd checksum',
        'nd option-length',
      ]),
    );
    for (const ip of ips) await agentA.tell({ op: 'stop', ip });
    expect(await agentA.probe('10.20.0.113')).toEqual({ free: true });
    expect(await agentA.probe('fd20::113')).toEqual({ free: true });
  });

  test('the state of the link is followed after the kernel had more to say than it could hold', async () => {
    const { a } = all();
    const agent = await LinkAgent.start(a);
    agent.process.kill('SIGSTOP');
    // Each of these is told to everybody who listens, and nobody reads.
    const changes = Array.from({ length: 5000 }, (_, index) => `link set lo mtu ${String(1400 + (index % 2))}\n`);
    await a.namespace.exec('ip', ['-batch', '-'], { input: changes.join('') });
    await segment.switch.ip('link', 'set', segment.port(a), 'down');
    agent.process.kill('SIGCONT');
    await expect.poll(async () => (await agent.events('vip.l2-link')).at(-1)?.up).toBe(false);
    await segment.switch.ip('link', 'set', segment.port(a), 'up');
    await expect.poll(async () => (await agent.events('vip.l2-link')).at(-1)?.up).toBe(true);
    await agent.kill();
  });

  test('a name that the interface no longer has is no interface, until it has it again', async () => {
    const { a } = all();
    const agent = await LinkAgent.start(a);
    const state = async (): Promise<unknown> => (await agent.events('vip.l2-link')).at(-1);
    await a.namespace.ip('link', 'set', 'eth0', 'down');
    await a.namespace.ip('link', 'set', 'eth0', 'name', 'other0');
    await a.namespace.ip('link', 'set', 'other0', 'up');
    await expect.poll(state).toMatchObject({ present: false, up: false });
    await expect(agent.probe('10.20.0.112')).rejects.toMatchObject({ code: 'VIP_L2_LINK_DOWN' });
    await a.namespace.ip('link', 'set', 'other0', 'down');
    await a.namespace.ip('link', 'set', 'other0', 'name', 'eth0');
    await a.namespace.ip('link', 'set', 'eth0', 'up');
    await expect.poll(state).toMatchObject({ present: true, up: true });
    expect(await agent.probe('10.20.0.112')).toEqual({ free: true });
    await agent.kill();
  });

  test('an interface that is none, or no Ethernet, is refused', async () => {
    const { a } = all();
    const agent = await LinkAgent.start(a);
    await expect(agent.open({ interface: 'lo' })).rejects.toMatchObject({ code: 'VIP_L2_INTERFACE_UNSUITABLE' });
    await expect(agent.open({ interface: 'eth7' })).rejects.toMatchObject({
      code: 'VIP_L2_INTERFACE_UNSUITABLE',
      message: expect.stringMatching(/eth7.*none of that name/) as string,
    });
    await agent.kill();
  });
});

describeRequiring(needs, 'a switch that snoops multicast', () => {
  test('carries IPv6 probes between stations that do not have the address yet', async () => {
    await using segment = await Segment.make();
    const [a, b] = [await segment.station('a'), await segment.station('b')];
    const [agentA, agentB] = [await LinkAgent.start(a), await LinkAgent.start(b)];
    // The switch heeds who has joined what only once it has asked, for which it needs its own link-local address.
    await expect
      .poll(() => segment.switch.ip('-6', 'address', 'show', 'dev', 'br0', 'scope', 'link'), { timeout: 10_000 })
      .toMatch(/inet6 fe80::(?!.*tentative)/);
    for (const querier of ['1', '0', '1']) {
      const snooping = ['mcast_query_response_interval', '10', 'mcast_querier', querier];
      await segment.switch.ip('link', 'set', 'br0', 'type', 'bridge', ...snooping);
      await new Promise((resolve) => void setTimeout(resolve, 500));
    }
    for (let round = 0; round < 12; round += 1) {
      const ip = `fd20::2:${round.toString(16)}`;
      const later = new Promise((resolve) => void setTimeout(resolve, 12 * round));
      const results = await Promise.all([agentA.probe(ip), later.then(() => agentB.probe(ip))]);
      expect(results.filter(({ free }) => free).length, `${String(12 * round)} ms apart`).toBeLessThanOrEqual(1);
    }
  });
});

const prebuild = fileURLToPath(new URL(`../../../prebuilds/linux-${process.arch}/meshwright.node`, import.meta.url));

describeRequiring({ root: true, native: true, commands: ['setpriv', 'ip'] }, 'without CAP_NET_RAW', () => {
  test('the error names the capability', async () => {
    const script = `
      import { L2Link } from './src/vip/l2/index.js';
      try { await L2Link.open({ interface: process.argv.at(-1) }); console.log('opened'); }
      catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message, fields: error.fields })); }`;
    const root = fileURLToPath(new URL('../../../', import.meta.url));
    const node = [
      process.execPath,
      '--conditions=meshwright-source',
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      script,
    ];
    const inNamespace = [
      '--net',
      'sh',
      '-c',
      'ip link add name eth0 type veth peer name eth1 && ip link set eth1 up && ip link set eth0 up && exec "$@"',
      'sh',
    ];
    const drop = ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw'];
    const { stdout } = await run('unshare', [...inNamespace, ...drop, ...node, 'eth0'], { cwd: root });
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'VIP_CAPABILITY_MISSING',
      message: expect.stringContaining('CAP_NET_RAW') as string,
      fields: { capability: 'CAP_NET_RAW' },
    });
    const control = await run('unshare', [...inNamespace, ...node, 'eth0'], { cwd: root });
    expect(control.stdout.trim()).toBe('opened');
  });
});
