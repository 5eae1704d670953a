/** A ProxyVIP in BGP mode, from the manifest to the router's kernel and to a client behind it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';
import { document, pod, service } from '../../kubernetes/manifests.js';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../../vip/peers/bird.js';
import { RequestLoop } from '../../vip/peers/request-loop.js';
import { until } from '../../vip/peers/until.js';

const program = fileURLToPath(new URL('vip-node-program.ts', import.meta.url));
const address = '203.0.113.10';

const nodeManifest = (name: string, ip: string): string =>
  document({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address: ip }] },
  });

// BFD slow enough that a busy machine does not declare a node down that is there: that would cost requests.
const vip = document({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyVIP',
  metadata: { name: 'edge' },
  spec: {
    mode: 'BGP',
    address: `${address}/32`,
    ports: [80],
    bgpConfig: {
      localAS: 64513,
      routerID: '10.30.0.1',
      peers: [{ address: '10.30.0.254', as: 64512, ttlSecurity: true }],
      communities: ['64513:80'],
    },
    bfd: { enabled: true, desiredMinTxInterval: '500ms', requiredMinRxInterval: '500ms' },
  },
});

const gateway = (name: string, ip: string, node: string, ready: boolean): string =>
  pod(name, ip, {
    node,
    labels: { app: 'gateway' },
    spec: { containers: [{ name: 'gateway', ports: [{ name: 'http', containerPort: 8080 }] }] },
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  });

const manifests = (readyOnB = true): string =>
  nodeManifest('node-a', '10.30.0.1') +
  nodeManifest('node-b', '10.30.0.2') +
  gateway('gateway-a', '10.30.1.2', 'node-a', true) +
  gateway('gateway-b', '10.30.2.2', 'node-b', readyOnB) +
  service(
    'gateway',
    { clusterIP: '10.96.0.1', selector: { app: 'gateway' }, ports: [{ port: 80, targetPort: 'http' }] },
    { 'novaedge.io/vip-ref': 'edge' },
  ) +
  vip;

const birdConfig = `
router id 10.30.0.254;
protocol device { scan time 2; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol bfd { interface "br0" { min rx interval 500 ms; min tx interval 500 ms; multiplier 3; }; }
template bgp agent {
  local 10.30.0.254 as 64512; bfd on; hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ttl security on; password "s3cr3t";
  ipv4 { import where net ~ [ 203.0.113.0/24{32,32} ]; export none; };
}
protocol bgp a from agent { neighbor 10.30.0.1 as 64513; }
protocol bgp b from agent { neighbor 10.30.0.2 as 64513; }
`;

const bothUp = /^10\.30\.0\.\d\s+\S+\s+Up.*\n10\.30\.0\.\d\s+\S+\s+Up/m;

describeRequiring({ netns: true, native: true, commands: ['bird', 'curl'] }, 'a ProxyVIP in BGP mode', () => {
  let lab: NetnsLab;
  let router: NetNamespace;
  let client: NetNamespace;
  let bird: Bird;
  const directory = mkdtempSync(join(tmpdir(), 'meshwright-bgp-vip-'));
  const file = join(directory, 'mesh.yaml');
  const agents = new Map<string, ReturnType<NetNamespace['spawn']>>();
  const nodes = new Map<string, NetNamespace>();
  const reports = new Map<string, string>();

  const startAgent = (name: string, node: NetNamespace): void => {
    const child = node.spawn(process.execPath, ['--import', 'tsx', program, name, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout?.on('data', (chunk: Buffer) => reports.set(name, chunk.toString().trim().split('\n').at(-1) ?? ''));
    agents.set(name, child);
  };
  const nextHops = async (): Promise<readonly string[]> =>
    [...(await router.ip('route', 'show', address)).matchAll(/via (\S+)/g)].map(([, hop]) => String(hop)).sort();
  const ask = async (): Promise<string> =>
    (
      await client.exec('curl', ['--silent', '--max-time', '2', `http://${address}/`], { allowFailure: true })
    ).stdout.trim();
  const seen = (): Promise<string> => Promise.resolve(JSON.stringify([...reports]));

  beforeAll(async () => {
    lab = await NetnsLab.create();
    router = await lab.namespace('router', {
      forwarding: true,
      // By ports too: the connections of one client are spread.
      sysctls: { 'net.ipv4.fib_multipath_hash_policy': 1 },
    });
    await router.bridge('br0', { addresses: ['10.30.0.254/24'] });
    client = await lab.namespace('client');
    await lab.link(
      { namespace: client, device: 'eth0', addresses: ['10.30.9.2/24'] },
      { namespace: router, device: 'client', addresses: ['10.30.9.1/24'] },
    );
    await client.route('default', { via: '10.30.9.1' });
    writeFileSync(file, manifests());
    for (const [name, index] of [
      ['node-a', '1'],
      ['node-b', '2'],
    ] as const) {
      const node = await lab.namespace(name, { forwarding: true });
      nodes.set(name, node);
      await lab.link(
        { namespace: node, device: 'eth0', addresses: [`10.30.0.${index}/24`] },
        { namespace: router, device: `port${index}`, bridge: 'br0' },
      );
      await node.route('default', { via: '10.30.0.254' });
      const inside = await lab.namespace(`gateway-${index}`);
      await lab.link(
        { namespace: node, device: 'pod', addresses: [`10.30.${index}.1/24`] },
        { namespace: inside, device: 'eth0', addresses: [`10.30.${index}.2/24`] },
      );
      await inside.route('default', { via: `10.30.${index}.1` });
      const answer = `require('node:http').createServer((q, r) => setTimeout(() => r.end('${name}'), 10)).listen(8080)`;
      inside.spawn(process.execPath, ['-e', answer], { stdio: 'ignore' });
      startAgent(name, node);
    }
    bird = await Bird.start(router, birdConfig);
  }, 60_000);

  afterAll(async () => {
    await bird[Symbol.asyncDispose]();
    lab.destroy();
    rmSync(directory, { recursive: true, force: true });
  });

  it('is announced by every node that can serve it: equal-cost routes in the router’s kernel, and answers', async () => {
    await until('both nodes are next hops', async () => (await nextHops()).length === 2, { timeoutMs: 30_000, seen });
    expect(await nextHops()).toEqual(['10.30.0.1', '10.30.0.2']);
    expect(['node-a', 'node-b']).toContain(await ask());
    expect(await bird.birdc(`show route all for ${address}`)).toContain('(64513,80)');
    await until('BFD is up with both', async () => bothUp.test(await bird.birdc('show bfd sessions')), {
      timeoutMs: 15_000,
      seen: () => bird.birdc('show bfd sessions'),
    });
    await until('node-a says so', () => reports.get('node-a')?.includes('"state":"announcing"'), { seen });
  });

  it('is withdrawn by a node whose pod is not ready, which keeps its session', async () => {
    writeFileSync(file, manifests(false));
    agents.get('node-b')?.kill('SIGHUP');
    await until('one next hop is left', async () => (await nextHops()).join() === '10.30.0.1', {
      timeoutMs: 20_000,
      seen,
    });
    expect(await ask()).toBe('node-a');
    expect(await bird.bgpState('b')).toBe('Established');
    writeFileSync(file, manifests());
    agents.get('node-b')?.kill('SIGHUP');
    await until('both are back', async () => (await nextHops()).length === 2, { timeoutMs: 20_000, seen });
  });

  it('loses no request when a node gives it up, nor when one stops, however many are open', async () => {
    // A SYN that was dropped is sent again after 1 s, 3 s, 7 s.
    const options = { ip: address, port: 80, atOnce: 16, timeoutMs: 30_000 };
    const underLoad = async (leave: () => void, left: string): Promise<void> => {
      using load = new RequestLoop(client, options);
      const answered = (name: string): number => load.seen.answered[name] ?? 0;
      await until('both answer', () => ['node-a', 'node-b'].every((name) => answered(name) >= 20), {
        timeoutMs: 30_000,
        seen: () => load.seen,
      });
      leave();
      await until('one next hop is left', async () => (await nextHops()).length === 1, { timeoutMs: 20_000, seen });
      const before = answered(left);
      await until('it answers', () => answered(left) >= before + 20, { timeoutMs: 30_000, seen: () => load.seen });
      const { failures } = await load.end();
      expect(failures).toEqual([]);
    };
    await underLoad(() => {
      writeFileSync(file, manifests(false));
      agents.get('node-b')?.kill('SIGHUP');
    }, 'node-a');
    writeFileSync(file, manifests());
    agents.get('node-b')?.kill('SIGHUP');
    await until('both are back', async () => (await nextHops()).length === 2, { timeoutMs: 20_000, seen });
    await underLoad(() => void agents.get('node-a')?.kill('SIGTERM'), 'node-b');
    startAgent('node-a', nodes.get('node-a') as NetNamespace);
    await until('both are next hops', async () => (await nextHops()).length === 2, { timeoutMs: 30_000, seen });
    await until('BFD is up with both', async () => bothUp.test(await bird.birdc('show bfd sessions')), {
      timeoutMs: 15_000,
      seen: () => bird.birdc('show bfd sessions'),
    });
  }, 180_000);

  it('is gone from a node that was killed as soon as BFD says so, and from one that stops in order', async () => {
    agents.get('node-a')?.kill('SIGKILL');
    const killedMs = performance.now();
    await until('one next hop is left', async () => (await nextHops()).join() === '10.30.0.2', {
      timeoutMs: 5_000,
      seen,
    });
    // Far from the hold time of 9 s; how fast it can be is for the benchmark to say.
    expect(performance.now() - killedMs).toBeLessThan(5_000);
    expect(await ask()).toBe('node-b');
    agents.get('node-b')?.kill('SIGTERM');
    await until('no next hop is left', async () => (await nextHops()).length === 0, { timeoutMs: 20_000, seen });
  });
});
