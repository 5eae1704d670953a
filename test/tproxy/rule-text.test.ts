// The rules as text and the way they are handed over, without a kernel.
import { describe, expect, test } from 'vitest';
import { Interception } from '../../src/tproxy/index.js';
import type { CommandResult, InterceptionOptions, InterceptionPlan, NetworkInterface } from '../../src/tproxy/index.js';

interface Call {
  readonly command: string;
  readonly args: readonly string[];
  readonly input: string;
}

const ok: CommandResult = { status: 0, stdout: '', stderr: '' };

function veth(name: string, index: number, rest: Partial<NetworkInterface> = {}): NetworkInterface {
  return {
    name,
    index,
    mac: '02:00:00:00:00:01',
    master: undefined,
    isBridge: false,
    addresses: ['10.1.0.1', 'fe80::1'],
    ...rest,
  };
}

async function open(
  options: InterceptionOptions = {},
  answer: (call: Call) => CommandResult | undefined = () => undefined,
  interfaces: readonly NetworkInterface[] = [veth('veth1', 7)],
): Promise<{ interception: Interception; calls: Call[]; restored: (command: string) => Call[] }> {
  const calls: Call[] = [];
  const interception = await Interception.create({
    ...options,
    run: (command, args, input = '') => {
      const call = { command, args, input };
      calls.push(call);
      return Promise.resolve(answer(call) ?? ok);
    },
    interfaces: () => Promise.resolve(interfaces),
  });
  const restored = (command: string): Call[] =>
    calls.filter((call) => call.command === command && call.input !== '' && !call.args.includes('--check'));
  return { interception, calls, restored };
}

const plan: InterceptionPlan = {
  pods: [{ hostInterface: 'veth1', addresses: ['10.1.0.5', 'fd01::5'] }],
  outbound: [{ ip: '10.96.0.10', port: 80 }, { ip: '10.1.0.6' }, { ip: 'fd01::6' }],
  inbound: [{ ip: '10.1.0.5' }],
  host: { mode: 'probes', probes: [{ ip: '10.1.0.5', port: 9090 }] },
};

describe('the nftables rules', () => {
  test('are one transaction that replaces everything', async () => {
    const { interception, restored } = await open();
    await interception.apply(plan);
    const batches = restored('nft');
    expect(batches).toHaveLength(1);
    const text = batches[0]?.input ?? '';
    for (const table of ['inet', 'netdev', 'bridge']) {
      expect(text).toContain(`add table ${table} meshwright\ndelete table ${table} meshwright\n`);
    }
    expect(text).toContain('chain NOVAEDGE_MESH {');
    expect(text).toContain('elements = { 7 . 10.1.0.5 }');
    expect(text).toContain('elements = { 10.96.0.10 . 80 }');
    expect(interception.describe()).toMatchObject({
      backend: 'nftables',
      mode: 'tproxy',
      counts: { pods: 1, outbound: 3, inbound: 1, probes: 1 },
    });
  });

  test('every tproxy statement is followed by a reset for the same match', async () => {
    const { interception, restored } = await open();
    await interception.apply(plan);
    const lines = (restored('nft')[0]?.input ?? '').split('\n').map((line) => line.trim());
    const at = lines.flatMap((line, index) => (line.includes('tproxy ip') ? [index] : []));
    expect(at).toHaveLength(4);
    for (const index of at) {
      expect(lines[index - 1]).toMatch(/^chain capture_/);
      expect(lines[index + 1]).toMatch(/^meta l4proto tcp counter name \w+ reject with tcp reset$/);
      expect(lines[index + 2]).toBe('}');
    }
  });

  test('pods are pinned by IPv4, ARP, IPv6 and neighbour discovery, and may not pose as routers', async () => {
    const { interception, restored } = await open();
    await interception.apply(plan);
    const text = restored('nft')[0]?.input ?? '';
    for (const rule of [
      'type filter hook ingress devices = { "veth1" } priority -500',
      'meta protocol != { ip, ip6, arp } counter name spoofed_dropped drop',
      'meta protocol arp iifname . arp saddr ip != @pins4 counter name spoofed_dropped drop',
      'meta protocol ip iifname . ip saddr != @pins4 counter name spoofed_dropped drop',
      'iifname . ip6 saddr != @pins6 counter name spoofed_dropped drop',
      'icmpv6 type { nd-router-advert, nd-redirect } counter name spoofed_dropped drop',
      'icmpv6 type nd-neighbor-advert jump neighbour_target',
      'elements = { "veth1" . 0xfd010000000000000000000000000005 }',
      'elements = { 0xfe800000000000000000000000000001 }',
    ]) {
      expect(text).toContain(rule);
    }
  });

  test('marks are always masked, with the values that were given', async () => {
    const { interception, restored, calls } = await open({
      marks: { intercept: { mark: 0x40, mask: 0xc0 }, upstream: { mark: 0x1, mask: 0x3 } },
    });
    await interception.apply(plan);
    const text = restored('nft')[0]?.input ?? '';
    expect(text).toContain('meta mark set meta mark & 0xffffff3f | 0x40');
    expect(text).toContain('meta mark & 0x3 == 0x1 return');
    expect(text).not.toMatch(/mark (==|set) 0x/);
    expect(
      calls.some(({ args }) => args.join(' ').includes('rule add priority 90 fwmark 0x40/0xc0 lookup 15001')),
    ).toBe(true);
  });

  test('a change of destinations is an update of sets only; a refused one is followed by the whole', async () => {
    let refuse = false;
    const { interception, restored } = await open({}, ({ input }) =>
      refuse && input.startsWith('delete element') ? { ...ok, status: 1, stderr: 'no such element' } : undefined,
    );
    await interception.apply(plan);
    await interception.apply({
      ...plan,
      outbound: [{ ip: '10.96.0.11', port: 81 }, { ip: '10.1.0.6' }, { ip: 'fd01::6' }],
    });
    expect(restored('nft')[1]?.input).toBe(
      'delete element inet meshwright outbound_ports4 { 10.96.0.10 . 80 }\nadd element inet meshwright outbound_ports4 { 10.96.0.11 . 81 }\n',
    );
    await interception.apply(plan);
    refuse = true;
    await interception.apply({ ...plan, outbound: [] });
    expect(restored('nft').map(({ input }) => input.split(' ', 1)[0])).toEqual([
      'add',
      'delete',
      'delete',
      'delete',
      'add',
    ]);
  });

  test('where the ingress has no address of its own, REDIRECT goes to one of the host', async () => {
    const bare = [
      veth('veth1', 7, { addresses: ['fe80::1'] }),
      veth('eth0', 2, { addresses: ['192.168.0.9', 'fd09::9'] }),
      veth('lo', 1, { addresses: ['127.0.0.1', '::1'] }),
    ];
    const { interception, restored } = await open({ mode: 'redirect' }, undefined, bare);
    await interception.apply(plan);
    const text = restored('nft')[0]?.input ?? '';
    expect(text).toContain('dnat ip to 192.168.0.9:15001');
    expect(text).toContain('dnat ip6 to [fd09::9]:15006');
    expect(text).not.toContain('tproxy');
  });
});

describe('the iptables rules', () => {
  test('are restored per family without flushing others, guards first', async () => {
    const { interception, restored } = await open({ backend: 'iptables' });
    await interception.apply(plan);
    const [first] = restored('iptables-restore').filter(({ input }) => input.includes('NOVAEDGE_HOST'));
    expect(first?.args).toEqual(['--noflush', '-w', '10']);
    const text = first?.input ?? '';
    expect([...text.matchAll(/^\*(\w+)$/gm)].map(([, table]) => table)).toEqual(['filter', 'nat', 'mangle']);
    expect(text).toContain('-A NOVAEDGE_OUT -d 10.96.0.10 -p tcp -m tcp --dport 80');
    expect(text).toContain('-j TPROXY --on-port 15006 --tproxy-mark 0x1000/0x1000');
    expect(text).toContain('-I PREROUTING 1 -p tcp -j NOVAEDGE_MESH');
    expect(text).not.toContain('fd01');
    expect(text).not.toContain('--nowildcard');
    expect(restored('ip6tables-restore').at(-1)?.input).toContain('-d fd01::6');
    // Pins are nft's, and only those.
    expect(restored('nft')[0]?.input).toContain('table netdev meshwright {');
    expect(restored('nft')[0]?.input).not.toContain('inet');
  });

  test('jumps of before are replaced in the same commit', async () => {
    const saved =
      '*mangle\n:PREROUTING ACCEPT [0:0]\n:NOVAEDGE_MESH - [0:0]\n-A PREROUTING -j OTHER\n-A PREROUTING -p tcp -j NOVAEDGE_MESH\nCOMMIT\n';
    const { interception, restored } = await open({ backend: 'iptables' }, ({ command }) =>
      command === 'iptables-save' ? { ...ok, stdout: saved } : undefined,
    );
    await interception.apply(plan);
    const text = restored('iptables-restore').find(({ input }) => input.includes('NOVAEDGE_HOST'))?.input ?? '';
    expect(text).toContain('-D PREROUTING -p tcp -j NOVAEDGE_MESH\n-I PREROUTING 1 -p tcp -j NOVAEDGE_MESH');
  });

  test('without nft, pods on a bridge are a refusal', async () => {
    const bridged = [veth('veth1', 7, { master: 3 }), veth('br0', 3, { isBridge: true })];
    const { interception } = await open(
      { backend: 'iptables' },
      ({ command }) => (command === 'nft' ? { status: -1, stdout: '', stderr: 'not found' } : undefined),
      bridged,
    );
    await expect(interception.apply(plan)).rejects.toMatchObject({ code: 'TPROXY_PINNING_UNAVAILABLE' });
  });
});

describe('what goes wrong', () => {
  test.each([
    ['nft: Operation not permitted (you must be root)', 'TPROXY_CAPABILITY_MISSING'],
    ['nft: command not found', 'TPROXY_BACKEND_UNAVAILABLE'],
  ])('no backend because of "%s" is %s', async (stderr, code) => {
    await expect(open({}, () => ({ status: 1, stdout: '', stderr }))).rejects.toMatchObject({ code });
  });

  test('auto falls back to iptables where nft does not work', async () => {
    const { interception } = await open({}, ({ command }) =>
      command === 'nft' ? { status: -1, stdout: '', stderr: 'not found' } : undefined,
    );
    expect(interception.describe().backend).toBe('iptables');
  });

  test('refused rules are an error, and the next plan is tried whole', async () => {
    let refuse = true;
    const { interception, restored } = await open({}, ({ command, args, input }) =>
      refuse && command === 'nft' && input !== '' && !args.includes('--check')
        ? { status: 1, stdout: '', stderr: 'Could not process rule' }
        : undefined,
    );
    await expect(interception.apply(plan)).rejects.toMatchObject({
      code: 'TPROXY_APPLY_FAILED',
      message: expect.stringContaining('Could not process rule') as string,
    });
    expect(await interception.verify()).toMatchObject({ ok: false });
    refuse = false;
    await interception.apply(plan);
    expect(restored('nft').at(-1)?.input).toContain('table inet meshwright {');
  });

  test('a kernel without TPROXY gets REDIRECT, unless TPROXY was asked for by name', async () => {
    const noTproxy = ({ args }: Call): CommandResult | undefined =>
      args.includes('--check') ? { status: 1, stdout: '', stderr: '' } : undefined;
    const { interception } = await open({}, noTproxy);
    expect(await interception.apply(plan)).toMatchObject({ mode: 'redirect' });
    const strict = await open({ mode: 'tproxy' }, noTproxy);
    await expect(strict.interception.apply(plan)).rejects.toMatchObject({ code: 'TPROXY_MODE_UNAVAILABLE' });
  });

  test.each([
    [{ marks: { intercept: { mark: 0, mask: 0x1 } } }, 'marks.intercept'],
    [{ marks: { upstream: { mark: 0x3, mask: 0x1 } } }, 'marks.upstream'],
    [{ marks: { intercept: { mark: 0x1, mask: 0x1 }, upstream: { mark: 0x1, mask: 0x3 } } }, 'without a common bit'],
    [{ outboundPort: 0 }, 'outboundPort'],
    [{ inboundPort: 15_001 }, 'different ports'],
    [{ routeTable: -1 }, 'routeTable'],
  ] as [InterceptionOptions, string][])('options %j are refused', async (options, why) => {
    await expect(open(options)).rejects.toMatchObject({
      code: 'CORE_OPTION_INVALID',
      message: expect.stringContaining(why) as string,
    });
  });
});
