import { expect, it } from 'vitest';
import { FakeClock, NetnsLab } from '../../../src/testing/index.js';
import { VipManager } from '../../../src/vip/index.js';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { bfdStatus, bgp, established, recorded, short, web } from './recorded-parts.js';
import { LabNode, eventually } from './vip-lab.js';

it('puts the address on before it announces, says which peers have it, and takes it off last', async () => {
  const { calls, parts, states } = recorded();
  const clock = new FakeClock();
  const vips = await VipManager.create({ node: 'a', bgp, parts, clock, drainMs: 500, lingerMs: 200 });
  expect(calls.splice(0)).toEqual(['sweep false', 'speaker 64513 false,false']);
  await vips.apply([web]);
  await clock.advanceAsync(10);
  expect(calls.splice(0)).toEqual(['add 203.0.113.10 lo 60', 'announce 203.0.113.10/32 ']);
  expect(vips.state.map(short)).toEqual(['pending: announced to 0 of 0 BGP peers']);
  states.set(established('one'));
  await clock.advanceAsync(1);
  expect(vips.state.map(short)).toEqual(['announcing: announced to 1 of 2 BGP peers']);
  // Attributes change in place; the same again changes nothing.
  await vips.apply([{ ...web, communities: ['64512:1'] }]);
  await clock.advanceAsync(20_000);
  expect(calls.splice(0)).toEqual([
    'bfd 10.20.0.1 10.20.0.254',
    'announce 203.0.113.10/32 64512:1',
    'refresh 203.0.113.10',
  ]);
  const leaving = vips.apply([]);
  await clock.advanceAsync(499);
  expect(calls.splice(0)).toEqual(['drain 203.0.113.10/32']);
  expect(vips.state.map(({ state }) => state)).toEqual(['draining']);
  await clock.advanceAsync(1);
  expect(calls.splice(0)).toEqual(['withdraw 203.0.113.10/32']);
  await clock.advanceAsync(200);
  await leaving;
  expect(calls.splice(0)).toEqual(['remove 203.0.113.10']);
  expect(vips.state).toEqual([]);
  await vips.close();
  expect(calls).toEqual(['close speaker', 'end bfd 10.20.0.254', 'close bfd', 'close addresses']);
  expect(clock.pendingTimers).toBe(0);
});

it('withdraws at once while the node is not healthy, and comes back', async () => {
  const { calls, parts } = recorded();
  const clock = new FakeClock();
  let healthy = false;
  const vips = await VipManager.create({
    node: 'a',
    bgp,
    parts,
    clock,
    drainMs: 5_000,
    lingerMs: 100,
    health: () => healthy,
  });
  await vips.apply([web]);
  await clock.advanceAsync(1_000);
  calls.splice(0);
  expect(vips.state.map(short)).toEqual(['pending: this node is not healthy']);
  healthy = true;
  await clock.advanceAsync(200);
  expect(calls.splice(0)).toEqual(['add 203.0.113.10 lo 60', 'announce 203.0.113.10/32 ']);
  healthy = false;
  await clock.advanceAsync(200);
  expect(calls.splice(0)).toEqual(['withdraw 203.0.113.10/32']);
  await clock.advanceAsync(100);
  expect(calls.splice(0)).toEqual(['remove 203.0.113.10']);
  vips.destroy();
});

it('lets BFD end the session of its own peer alone, once it was up, and not when the peer has switched it off', async () => {
  const { calls, parts, states, bfd } = recorded();
  const clock = new FakeClock();
  const vips = await VipManager.create({ node: 'a', bgp, parts, clock });
  states.set(established('one', 'two'));
  await clock.advanceAsync(1);
  calls.splice(0);
  expect(bfd).toHaveLength(1);
  bfd[0]?.onChange?.(bfdStatus('down'));
  bfd[0]?.onChange?.(bfdStatus('up'));
  bfd[0]?.onChange?.({ ...bfdStatus('down'), diagnostic: 'detection-time-expired' });
  expect(calls.splice(0)).toEqual(['up 10.20.0.254', 'down 10.20.0.254 BFD: detection-time-expired']);
  bfd[0]?.onChange?.(bfdStatus('up'));
  bfd[0]?.onChange?.({ ...bfdStatus('down'), remoteState: 'admin-down' });
  expect(calls.splice(0)).toEqual(['up 10.20.0.254']);
  vips.destroy();
});

it('changes peers in place, and makes a new speaker that announces the same for another AS', async () => {
  const { calls, parts, states } = recorded();
  const clock = new FakeClock();
  const vips = await VipManager.create({ node: 'a', bgp, parts, clock });
  await vips.apply([web]);
  await clock.advanceAsync(10);
  states.set(established('one'));
  await clock.advanceAsync(1);
  calls.splice(0);
  await vips.configureBgp(bgp);
  await vips.configureBgp({ ...bgp, peers: bgp.peers.slice(1) });
  await clock.advanceAsync(1);
  expect(calls.splice(0)).toEqual(['peers two', 'end bfd 10.20.0.254']);
  await vips.configureBgp({ ...bgp, localAs: 65000, peers: bgp.peers.slice(1) });
  expect(calls.splice(0)).toEqual(['close speaker', 'speaker 65000 false', 'announce 203.0.113.10/32 ']);
  vips.destroy();
});

it('keeps left-over addresses of a graceful restart until the first assignments say which stay', async () => {
  const { calls, parts } = recorded();
  const clock = new FakeClock();
  const options = { ...bgp, gracefulRestart: { restarting: true } };
  const vips = await VipManager.create({ node: 'a', bgp: options, parts, clock });
  expect(calls.splice(0)[0]).toBe('sweep true');
  await vips.apply([{ ...web, addresses: ['203.0.113.99', '203.0.113.10'] }]);
  await clock.advanceAsync(1);
  expect(calls.filter((each) => each.startsWith('sweep') || each === 'complete')).toEqual(['sweep true', 'complete']);
  expect(calls.find((each) => each.startsWith('add'))).toBe('add 203.0.113.99 lo 180');
  vips.destroy();
});

const config = `
router id 10.20.0.254;
protocol device { scan time 2; }
protocol direct { ipv4; ipv6; interface "br0"; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths yes limit 16; }
protocol bfd { interface "br0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
template bgp agent { local 10.20.0.254 as 64512; bfd on; hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export none; }; ipv6 { import all; export none; next hop self; }; }
protocol bgp a1 from agent { neighbor 10.20.0.1 as 64513; }
protocol bgp a2 from agent { neighbor 10.20.0.2 as 64513; }
`;

describeRequiring(
  { netns: true, native: true, commands: ['bird', 'birdc'] },
  'VipManager by BGP, judged by BIRD',
  () => {
    it('gives the router a path to each node, and takes it away when a node is killed, leaves, or is not healthy', async () => {
      await using lab = await NetnsLab.create();
      const router = await lab.namespace('router', { forwarding: true });
      await router.bridge('br0', { addresses: ['10.20.0.254/24', 'fd20::254/64'] });
      const nodes: LabNode[] = [];
      for (const index of [1, 2]) {
        const namespace = await lab.namespace(`node-${String(index)}`);
        await lab.link(
          { namespace, device: 'eth0', addresses: [`10.20.0.${String(index)}/24`, `fd20::${String(index)}/64`] },
          { namespace: router, device: `n${String(index)}`, bridge: 'br0' },
        );
        nodes.push(new LabNode(`node-${String(index)}`, namespace));
      }
      await using bird = await Bird.start(router, config);
      const vips = ['203.0.113.10', '2001:db8::10'];
      for (const [index, node] of nodes.entries()) {
        const own = String(index + 1);
        const peer = {
          address: '10.20.0.254',
          remoteAs: 64512,
          holdTimeSeconds: 9,
          connectRetryMs: 500,
          nextHop: { ipv6: `fd20::${own}` },
        };
        const timers = { txIntervalMs: 100, rxIntervalMs: 100, multiplier: 3 };
        await node.start({
          assignments: [{ name: 'web', addresses: vips, mode: 'bgp', communities: ['64512:100'] }],
          manager: {
            bgp: { localAs: 64513, routerId: `10.20.0.${own}`, peers: [{ ...peer, bfd: timers }] },
            lingerMs: 100,
          },
        });
      }
      const paths = async (): Promise<readonly number[]> =>
        Promise.all(
          vips.map(async (vip) => {
            const shown = await router.ip(vip.includes(':') ? '-6' : '-4', 'route', 'show', vip);
            return (shown.match(/via \S+ dev br0/g) ?? []).length;
          }),
        );
      const untilPaths = async (count: number): Promise<void> => {
        const untilMs = performance.now() + 15_000;
        while ((await paths()).some((each) => each !== count)) {
          if (performance.now() > untilMs)
            throw new Error(`not ${String(count)} paths: ${await bird.birdc('show route all')}`);
        }
      };
      await eventually(
        'both announce',
        () => nodes.every((node) => vips.every((vip) => node.state(vip) === 'announcing')),
        20_000,
      );
      await untilPaths(2);
      expect(await bird.birdc('show route all')).toContain('(64512,100)');
      // The session of BFD comes up after that of BGP.
      const bfdUp = async (): Promise<boolean> =>
        ((await bird.birdc('show bfd sessions')).match(/\bUp\b/g) ?? []).length === 2;
      for (let attempt = 0; attempt < 50 && !(await bfdUp()); attempt += 1)
        await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await bfdUp()).toBe(true);
      // Frozen: only BFD can tell that fast, and its thread is frozen too.
      nodes[0]?.signal('SIGSTOP');
      const frozenMs = performance.now();
      await untilPaths(1);
      expect(performance.now() - frozenMs).toBeLessThan(2_000);
      nodes[0]?.signal('SIGCONT');
      await untilPaths(2);
      await nodes[0]?.end('SIGTERM');
      await untilPaths(1);
      expect(await nodes[0]?.namespace.ip('-o', 'address', 'show', 'dev', 'lo')).not.toContain('203.0.113.10');
      await nodes[1]?.end('SIGKILL');
      await untilPaths(0);
    });
  },
);
