// What interception keeps out besides capturing: false sources, old connections, translated ones; and how it ends.
import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from '../../src/testing/netns-namespace.js';
import { describeRequiring } from '../support/requirements.js';
import { Agent, address, get, installKubeProxy, makeNodeLab, plan, url } from './support/node-lab.js';
import type { NodeLab } from './support/node-lab.js';

const needs = { netns: true, native: true, commands: ['nft', 'iptables', 'curl'] };
const forgedAdvertisement = fileURLToPath(new URL('./support/forged-advertisement.ts', import.meta.url));
const persistentClient = fileURLToPath(new URL('./support/persistent-client.mjs', import.meta.url));

const running: Agent[] = [];

async function startAgent(
  net: NodeLab,
  options: Record<string, unknown> = {},
  listen: Record<string, unknown> = {},
): Promise<Agent> {
  const agent = await Agent.start(net.node);
  running.push(agent);
  const { withoutNft, ...rest } = options;
  await agent.tell({ op: 'create', options: rest, withoutNft: withoutNft === true });
  await agent.tell({ op: 'listen', ...listen });
  return agent;
}

/** The next line that a child prints which satisfies `wanted`; fails after 15 s. */
async function line(child: ChildProcess, wanted: (text: string) => boolean): Promise<string> {
  const stream = child.stdout as NodeJS.ReadableStream;
  const signal = AbortSignal.timeout(15_000);
  for (;;) {
    const [chunk] = (await once(stream, 'data', { signal })) as [Buffer];
    const found = chunk.toString().split('\n').find(wanted);
    if (found !== undefined) return found;
  }
}

describeRequiring(needs, 'pods on a bridge', () => {
  let net: NodeLab;
  let agent: Agent;
  beforeAll(async () => {
    net = await makeNodeLab('bridge');
    agent = await startAgent(net);
  });
  afterAll(() => net[Symbol.asyncDispose]());

  const impostor = ['--interface', address.server[4]];

  test('a pod that claims another pod’s address is let in without the rules, and dropped with them', async () => {
    // Control: the client takes the server's addresses, and the listener-to-be sees the victim's.
    await net.server.ip('link', 'set', 'eth0', 'down');
    await net.client.address('eth0', `${address.server[4]}/24`, `${address.server[6]}/64`);
    expect(await get(net.client, url('10.1.0.1', 8080), ...impostor)).toBe('refused'); // an answer came: it was let in
    expect(await get(net.node, url(address.server[4], 8080))).toContain('client:8080');
    expect(await get(net.node, url(address.server[6], 8080))).toContain('client:8080');
    await net.node.ip('neigh', 'flush', 'all');

    expect(await agent.tell({ op: 'apply', plan: { ...plan, host: { mode: 'allow', probes: [] } } })).toMatchObject({
      mode: 'tproxy',
    });
    expect(await get(net.client, url(address.service[4], 80), ...impostor, '--max-time', '0.6')).toBe('timeout');
    expect(await get(net.client, url('10.1.0.1', 8080), ...impostor, '--max-time', '0.6')).toBe('timeout');
    // Nor can it draw the victim's traffic to itself, by ARP or neighbour advertisement.
    expect(await get(net.node, url(address.server[4], 8080), '--max-time', '0.6')).not.toContain('client');
    expect(await get(net.node, url(address.server[6], 8080), '--max-time', '0.6')).not.toContain('client');
    expect(((await agent.tell({ op: 'counters' })) as { spoofedDropped: number }).spoofedDropped).toBeGreaterThan(0);

    // Honest pods are not disturbed.
    await net.client.ip('address', 'del', `${address.server[4]}/24`, 'dev', 'eth0');
    await net.client.ip('address', 'del', `${address.server[6]}/64`, 'dev', 'eth0');
    await net.server.ip('link', 'set', 'eth0', 'up');
    await net.server.address('eth0', `${address.server[6]}/64`);
    await net.server.route('default', { via: '10.1.0.1' });
    await net.server.route('default', { via: 'fd01::1' });
    await net.node.ip('neigh', 'flush', 'all');
    for (const family of [4, 6] as const) {
      expect(await get(net.client, url(address.service[family], 80))).toContain('outbound');
      expect(await get(net.server, url(address.client[family], 8080))).toContain('client:8080');
      expect(await get(net.node, url(address.server[family], 8080))).toContain('server:8080');
    }
  });

  test('a new port of the bridge cannot claim a pod’s address either', async () => {
    const stranger = await net.lab.namespace('stranger');
    await net.lab.link(
      { namespace: net.node, device: 'v-stranger', bridge: 'br0' },
      { namespace: stranger, device: 'eth0', addresses: [`${address.client[4]}/24`] },
    );
    expect(await get(stranger, url('10.1.0.1', 8080), '--max-time', '0.6')).toBe('timeout');
    // Nor without asking for the gateway's address first.
    const dropped = async (): Promise<number> =>
      ((await agent.tell({ op: 'counters' })) as { spoofedDropped: number }).spoofedDropped;
    const mac = /link\/ether (\S+)/.exec(await net.node.ip('link', 'show', 'br0'))?.[1] ?? '';
    await stranger.ip('neigh', 'replace', '10.1.0.1', 'lladdr', mac, 'dev', 'eth0');
    const before = await dropped();
    expect(await get(stranger, url('10.1.0.1', 8080), '--max-time', '0.6')).toBe('timeout');
    expect(await dropped()).toBeGreaterThan(before);
    // The plan is of before: what an agent hears of it.
    expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
  });

  test('a forged neighbour advertisement from an honest address redirects nobody', async () => {
    const neighbour = async (): Promise<string> =>
      /lladdr (\S+)/.exec(await net.node.ip('-6', 'neigh', 'show', address.server[6]))?.[1] ?? 'none';
    const forge = (): Promise<unknown> =>
      net.client.exec(process.execPath, [
        '--conditions=meshwright-source',
        '--import',
        'tsx',
        forgedAdvertisement,
        'fd01::1',
        address.server[6],
      ]);
    await net.node.exec('curl', ['-s', '-g', '--max-time', '2', url(address.server[6], 9090)]);
    const honest = await neighbour();
    const dropped = async (): Promise<number> =>
      ((await agent.tell({ op: 'counters' })) as { spoofedDropped: number }).spoofedDropped;
    const before = await dropped();
    await forge();
    await expect.poll(dropped).toBeGreaterThan(before);
    expect(await neighbour()).toBe(honest);
    // Control: without the pins it works.
    await net.node.exec('nft', ['delete', 'table', 'netdev', 'meshwright']);
    await forge();
    await expect.poll(neighbour).not.toBe(honest);
    await net.node.ip('-6', 'neigh', 'flush', 'all');
    expect(await agent.tell({ op: 'verify' })).toMatchObject({ ok: false });
    await agent.tell({ op: 'apply', plan });
  });

  test('a pod’s link-local address is no way around, from a neighbour or the host', async () => {
    const linkLocal =
      /inet6 (fe80::[0-9a-f:]+)/.exec(await net.server.ip('-6', 'address', 'show', 'dev', 'eth0'))?.[1] ?? '';
    const to = (device: string): string => `http://[${linkLocal}%25${device}]:8080/`;
    await agent.tell({ op: 'apply', plan });
    expect(await get(net.client, to('eth0'), '--max-time', '0.6')).toBe('timeout');
    expect(await get(net.node, to('br0'))).toBe('refused');
    await net.node.exec('nft', ['delete', 'table', 'bridge', 'meshwright']);
    expect(await get(net.client, to('eth0'))).toContain('server:8080');
    await agent.tell({ op: 'apply', plan });
    expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
    expect(await get(net.client, to('eth0'), '--max-time', '0.6')).toBe('timeout');
  });

  test('with bridge netfilter on, REDIRECT is chosen, and works between pods of one bridge', async () => {
    await net.node.sysctl({ 'net.bridge.bridge-nf-call-iptables': 1, 'net.bridge.bridge-nf-call-ip6tables': 1 });
    expect(await agent.tell({ op: 'apply', plan })).toMatchObject({ mode: 'redirect' });
    for (const family of [4, 6] as const) {
      expect(await get(net.client, url(address.service[family], 80))).toContain('outbound');
      expect(await get(net.client, url(address.server[family], 8080))).toContain('outbound');
      expect(await get(net.outside, url(address.server[family], 8080))).toContain('inbound');
      expect(await get(net.server, url(address.client[family], 8080))).toContain('client:8080');
    }
    const strict = await Agent.start(net.node);
    await strict.tell({ op: 'create', options: { mode: 'tproxy' } });
    await expect(strict.tell({ op: 'apply', plan })).rejects.toMatchObject({ code: 'TPROXY_MODE_UNAVAILABLE' });
    await net.node.sysctl({ 'net.bridge.bridge-nf-call-iptables': 0, 'net.bridge.bridge-nf-call-ip6tables': 0 });
    expect(await agent.tell({ op: 'apply', plan })).toMatchObject({ mode: 'tproxy' });
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
  });
});

describeRequiring(needs, 'pods on routed interfaces', () => {
  let net: NodeLab;
  // A test that fails must not take the next one's port.
  afterEach(async () => {
    for (const agent of running.splice(0)) await agent.kill();
  });
  beforeAll(async () => {
    net = await makeNodeLab('routed');
    await installKubeProxy(net.node, 'iptables-nft');
  });
  afterAll(() => net[Symbol.asyncDispose]());

  test.each(['nftables', 'iptables'] as const)(
    'a plaintext connection of before is cut, and its like refused (%s)',
    { timeout: 30_000 },
    async (backend) => {
      for (const mode of ['redirect', 'tproxy'] as const) {
        const agent = await startAgent(net, { backend, mode });
        const clients: (readonly [NetNamespace, string, number])[] = [
          [net.client, address.service[4], 80],
          [net.client, address.server[6], 8080],
          [net.outside, address.server[4], 8080],
        ];
        const open = clients.map(([from, ip, port]) =>
          from.spawn(process.execPath, [persistentClient, ip, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] }),
        );
        await Promise.all(open.map((child) => line(child, (text) => text.startsWith('server:'))));
        const closed = open.map((child) => line(child, (text) => text === 'closed'));
        const applied = (await agent.tell({ op: 'apply', plan })) as { forgottenConnections: number };
        expect(applied.forgottenConnections).toBeGreaterThanOrEqual(3);
        expect(await Promise.all(closed)).toEqual(['closed', 'closed', 'closed']);
        await agent.tell({ op: 'clear' });
        await agent.kill();
      }
    },
  );

  test('the client’s address is kept to the pod under TPROXY, IPv4 and IPv6', async () => {
    const agent = await startAgent(net, { mode: 'tproxy' }, { forward: true, keepSource: true });
    await agent.tell({ op: 'apply', plan });
    for (const family of [4, 6] as const) {
      expect(await get(net.client, url(address.server[family], 8080))).toBe(
        `server:8080 from ${address.client[family]}`,
      );
      expect(await get(net.outside, url(address.server[family], 8080))).toBe(
        `server:8080 from ${address.outside[family]}`,
      );
    }
    await agent.tell({ op: 'clear' });
    await agent.kill();
  });

  test.each(['nftables', 'iptables'] as const)(
    'a connection translated to an enrolled pod elsewhere is refused (%s)',
    async (backend) => {
      const agent = await startAgent(net, { backend });
      // As with a NodePort, or a ClusterIP that the plan does not know: at the time of capture the destination is another.
      const withoutService = { ...plan, outbound: plan.outbound.filter(({ port }) => port === undefined) };
      await agent.tell({ op: 'apply', plan: withoutService });
      expect(await get(net.client, url(address.service[4], 80))).toBe('refused');
      expect(await get(net.outside, url(address.service[4], 80))).toBe('refused');
      expect(
        ((await agent.tell({ op: 'counters' })) as { translatedRefused: number }).translatedRefused,
      ).toBeGreaterThan(0);
      await agent.tell({ op: 'apply', plan: { ...withoutService, translated: 'allow' } });
      expect(await get(net.outside, url(address.service[4], 80))).toContain('server:8080');
      await agent.tell({ op: 'clear' });
      await agent.kill();
    },
  );

  test.each(['nftables', 'iptables'] as const)('drift is seen, named and repaired (%s)', async (backend) => {
    const agent = await startAgent(net, { backend });
    await agent.tell({ op: 'apply', plan });
    expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
    const damages: readonly (readonly string[])[] =
      backend === 'nftables'
        ? [
            ['nft', 'flush', 'chain', 'inet', 'meshwright', 'NOVAEDGE_MESH'],
            ['nft', 'delete', 'element', 'inet', 'meshwright', 'inbound4', `{ ${address.server[4]} }`],
            ['nft', 'delete', 'table', 'netdev', 'meshwright'],
            ['ip', 'rule', 'del', 'fwmark', '0x1000/0x1000'],
            ['nft', 'add', 'rule', 'inet', 'meshwright', 'NOVAEDGE_HOST', 'accept'],
          ]
        : [
            ['iptables-nft', '-t', 'mangle', '-F', 'NOVAEDGE_IN'],
            ['iptables-nft', '-t', 'nat', '-I', 'PREROUTING', '1', '-j', 'KUBE-SERVICES'],
            ['nft', 'delete', 'table', 'netdev', 'meshwright'],
            ['ip', 'route', 'flush', 'table', '15001'],
          ];
    for (const [command = '', ...args] of damages) {
      await net.node.exec(command, args);
      const found = (await agent.tell({ op: 'verify' })) as { ok: boolean; problems: string[] };
      expect(found.ok, command + args.join(' ')).toBe(false);
      expect(found.problems.length).toBeGreaterThan(0);
      await agent.tell({ op: 'apply', plan });
      expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
    }
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    await agent.tell({ op: 'clear' });
    await agent.kill();
    if (backend === 'iptables')
      await net.node.exec('iptables-nft', ['-t', 'nat', '-D', 'PREROUTING', '-j', 'KUBE-SERVICES']);
  });

  test('nor is the link-local address on a routed interface (iptables)', async () => {
    const agent = await startAgent(net, { backend: 'iptables' });
    const linkLocal =
      /inet6 (fe80::[0-9a-f:]+)/.exec(await net.server.ip('-6', 'address', 'show', 'dev', 'eth0'))?.[1] ?? '';
    const target = `http://[${linkLocal}%25v-server]:8080/`;
    expect(await get(net.node, target)).toContain('server:8080');
    await agent.tell({ op: 'apply', plan });
    expect(await get(net.node, target)).toMatch(/refused|timeout/);
    await agent.tell({ op: 'clear' });
  });

  test.each([{}, { backend: 'iptables' }, { backend: 'iptables', withoutNft: true }])(
    'a false source address is dropped (%j)',
    async (options) => {
      const agent = await startAgent(net, options);
      expect(await net.node.exec('sysctl', ['-n', 'net.ipv4.conf.v-client.rp_filter'])).toMatchObject({
        stdout: '0\n',
      });
      await agent.tell({ op: 'apply', plan });
      expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
      await net.client.address('eth0', '10.1.0.99/32', 'fd01::99/128');
      await net.node.route('10.1.0.99/32', { device: 'v-client' });
      await net.node.route('fd01::99/128', { device: 'v-client' });
      expect(await get(net.client, url('fd09::2', 8080), '--interface', 'fd01::99', '--max-time', '0.6')).toBe(
        'timeout',
      );
      expect(await get(net.client, url('fd09::2', 8080), '--interface', address.client[6])).toContain('outside:8080');
      expect(await get(net.client, url('192.168.9.2', 8080), '--interface', '10.1.0.99', '--max-time', '0.6')).toBe(
        'timeout',
      );
      expect(await get(net.client, url('192.168.9.2', 8080))).toContain('outside:8080');
      expect(((await agent.tell({ op: 'counters' })) as { spoofedDropped: number }).spoofedDropped).toBeGreaterThan(0);
      await agent.tell({ op: 'clear' });
      // Control: without the pins both get through.
      expect(await get(net.client, url('192.168.9.2', 8080), '--interface', '10.1.0.99')).toBe(
        'outside:8080 from 10.1.0.99',
      );
      expect(await get(net.client, url('fd09::2', 8080), '--interface', 'fd01::99')).toBe('outside:8080 from fd01::99');
      for (const extra of ['10.1.0.99/32', 'fd01::99/128']) {
        await net.client.ip('address', 'del', extra, 'dev', 'eth0');
        await net.node.ip(extra.includes(':') ? '-6' : '-4', 'route', 'del', extra);
      }
      await agent.kill();
    },
  );

  test('marks of others are neither read nor changed', async () => {
    const agent = await startAgent(net, {
      marks: { intercept: { mark: 0x10, mask: 0xf0 }, upstream: { mark: 0x2, mask: 0xf } },
    });
    // Everything from the client already carries somebody's mark, which must survive.
    await net.node.exec('nft', ['-f', '-'], {
      input: `table inet others { chain before { type filter hook prerouting priority -160;
meta mark set 0xab000000
}
chain after { type filter hook prerouting priority -140;
meta mark & 0xff0000f0 == 0xab000010 counter
}
}
`,
    });
    await agent.tell({ op: 'apply', plan });
    expect(await net.node.ip('rule')).toContain('fwmark 0x10/0xf0');
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    expect((await net.node.exec('nft', ['list', 'table', 'inet', 'others'])).stdout).toMatch(/counter packets [1-9]/);
    await net.node.exec('nft', ['delete', 'table', 'inet', 'others']);
    await agent.tell({ op: 'clear' });
    expect(await net.node.ip('rule')).not.toContain('fwmark');
    await agent.kill();
  });

  test('closing keeps or removes the rules by the failure policy', async () => {
    for (const [failurePolicy, backend] of [
      ['closed', 'nftables'],
      ['closed', 'iptables'],
      ['open', 'nftables'],
    ] as const) {
      const agent = await startAgent(net, { failurePolicy, backend });
      await agent.tell({ op: 'apply', plan });
      expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
      expect(await get(net.client, url(address.server[6], 8080))).toContain('outbound');
      await agent.tell({ op: 'close' });
      await expect(agent.tell({ op: 'apply', plan })).rejects.toMatchObject({ code: 'CORE_CLOSED' });
      await agent.kill();
      if (failurePolicy === 'closed') {
        // The next agent finds its destinations captured already, and cuts no connection.
        const next = await startAgent(net, { backend });
        expect(await next.tell({ op: 'apply', plan })).toMatchObject({ forgottenConnections: 0 });
        await next.kill();
      }
      const answer = await get(net.client, url(address.service[4], 80));
      if (failurePolicy === 'closed') expect(answer).toBe(backend === 'iptables' ? 'timeout' : 'refused');
      else expect(answer).toContain('server:8080');
    }
  });

  test('changing the backend leaves nothing of the other', async () => {
    const first = await startAgent(net, { backend: 'iptables' });
    await first.tell({ op: 'apply', plan });
    await first.kill();
    const second = await startAgent(net, { backend: 'nftables' });
    await second.tell({ op: 'apply', plan });
    expect((await net.node.exec('iptables-save')).stdout).not.toContain('NOVAEDGE');
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    await second.kill();
    const third = await startAgent(net, { backend: 'iptables' });
    await third.tell({ op: 'apply', plan });
    expect((await net.node.exec('nft', ['list', 'tables'])).stdout).not.toContain('inet meshwright');
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    await third.tell({ op: 'clear' });
    await third.kill();
  });

  test('iptables against an nft kube-proxy is refused by name', async () => {
    await net.node.exec('nft', ['add', 'table', 'ip', 'kube-proxy']);
    const agent = await startAgent(net, { backend: 'iptables' });
    await expect(agent.tell({ op: 'apply', plan })).rejects.toMatchObject({ code: 'TPROXY_BACKEND_CONFLICT' });
    await net.node.exec('nft', ['delete', 'table', 'ip', 'kube-proxy']);
    await agent.kill();
  });

  test('a plan is updated by its differences, and counters go on', async () => {
    const agent = await startAgent(net);
    await agent.tell({ op: 'apply', plan });
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    const before = (await agent.tell({ op: 'counters' })) as { capturedOutbound: number };
    await agent.tell({ op: 'apply', plan: { ...plan, outbound: plan.outbound.slice(1) } });
    expect(await get(net.client, url(address.service[4], 80))).toBe('refused'); // translated to an enrolled pod
    await agent.tell({ op: 'apply', plan });
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    // And the whole anew, as after drift.
    await net.node.exec('nft', ['flush', 'chain', 'inet', 'meshwright', 'NOVAEDGE_MESH']);
    await agent.tell({ op: 'apply', plan });
    expect(await agent.tell({ op: 'verify' })).toEqual({ ok: true, problems: [] });
    expect(await get(net.client, url(address.service[4], 80))).toContain('outbound');
    const after = (await agent.tell({ op: 'counters' })) as { capturedOutbound: number };
    expect(after.capturedOutbound).toBeGreaterThan(before.capturedOutbound);
    await agent.tell({ op: 'clear' });
    await agent.kill();
  });

  test('an interface that goes or comes anew is reported, seen as drift, and no longer that pod', async () => {
    const agent = await startAgent(net);
    await agent.tell({ op: 'apply', plan });
    await agent.tell({ op: 'monitor' });
    await agent.tell({ op: 'events' });
    const spare = await net.lab.namespace('recycled');
    await net.node.ip('link', 'del', 'v-client');
    await net.lab.link(
      { namespace: net.node, device: 'v-client', addresses: ['169.254.1.1/32'] },
      { namespace: spare, device: 'eth0', addresses: [`${address.client[4]}/32`] },
    );
    await spare.route('169.254.1.1', { device: 'eth0' });
    await spare.ip('route', 'add', 'default', 'via', '169.254.1.1', 'dev', 'eth0');
    await net.node.route(`${address.client[4]}/32`, { device: 'v-client' });
    const changes: (boolean | undefined)[] = [];
    const latest = async (): Promise<boolean | undefined> => {
      const events = (await agent.tell({ op: 'events' })) as { type: string; name?: string; removed?: boolean }[];
      for (const { type, name, removed } of events) {
        if (type === 'interface' && name === 'v-client') changes.push(removed);
      }
      return changes.at(-1);
    };
    await expect.poll(latest).toBe(false);
    expect(changes[0]).toBe(true);
    expect(await agent.tell({ op: 'verify' })).toMatchObject({ ok: false });
    // Same name, same address, another interface: captured as a stranger, not as the pod.
    expect(await get(spare, url(address.server[4], 8080))).toContain('inbound');
    expect(
      await agent.tell({
        op: 'apply',
        plan: { ...plan, pods: [...plan.pods, { hostInterface: 'v-gone', addresses: ['10.1.0.200'] }] },
      }),
    ).toMatchObject({
      missingInterfaces: ['v-gone'],
    });
    expect(await get(spare, url(address.server[4], 8080))).toContain('outbound');
    // Made anew once more, and applied without a look at the drift: the pins are on the new one.
    await net.node.ip('link', 'del', 'v-client');
    await net.lab.link(
      { namespace: net.node, device: 'v-client', addresses: ['169.254.1.1/32'] },
      { namespace: spare, device: 'eth0', addresses: [`${address.client[4]}/32`] },
    );
    await agent.tell({ op: 'apply', plan });
    expect((await net.node.exec('nft', ['list', 'table', 'netdev', 'meshwright'])).stdout).toContain('v-client');
    await agent.kill();
  });
});
