import { expect, it } from 'vitest';
import { median } from '../../support/median.js';
import { describeRequiring } from '../../support/requirements.js';
import { AddressTable, kernelLifetimeMs } from '../../../src/vip/addresses/index.js';
import { inNamespace } from './in-namespace.js';
import { AddressObserver, Pinger, VipLab, eventually, pass } from './vip-lab.js';
import type { LabNode } from './vip-lab.js';

/** From the end of an owner to the first answer by the next: what is promised by default. */
const boundMs = 1_500;
const vip = '10.0.0.50';
const needs = { netns: true, native: true, commands: ['etcd', 'setpriv', 'bridge'] };

/** A machine that does other things too may be late; the benchmark measures, this only shows that nothing is broken. */
const slackMs = 700;

/** A kernel that idles takes an address away late, at most within its second after the first; the successor waits for that. */
function boundWith(keptMs: number): number {
  expect(keptMs).toBeLessThan(2_100);
  return boundMs + slackMs + Math.max(0, keptMs - kernelLifetimeMs(1));
}

function assigned(...addresses: readonly string[]) {
  return [{ name: 'web', addresses, mode: 'l2' as const }];
}

async function started(
  lab: VipLab,
  addresses: readonly string[] = [vip],
): Promise<readonly [LabNode, LabNode, ...LabNode[]]> {
  for (const node of lab.nodes) {
    await node.start({ etcd: lab.etcd, assignments: assigned(...addresses) });
    // The first one is the owner.
    await eventually('an owner', () => lab.node(0).state(vip) === 'announcing');
  }
  await eventually('the others know', () => lab.nodes.slice(1).every((node) => node.reason(vip) === 'owned by node-a'));
  return [lab.node(0), lab.node(1), ...lab.nodes.slice(2)];
}

/** Nodes no longer hear each other; the client hears both. */
async function isolate(lab: VipLab, on: boolean): Promise<void> {
  for (const { name } of lab.nodes) {
    await lab.segment.exec('bridge', ['link', 'set', 'dev', name, 'isolated', on ? 'on' : 'off']);
  }
}

describeRequiring(needs, 'VipManager on layer 2, each node a process of its own', () => {
  it('moves an address within the bound when its owner is killed: IPv4 and IPv6', async () => {
    await using lab = await VipLab.create(3);
    const addresses = [vip, 'fd00::50'];
    const [a] = await started(lab, addresses);
    using observer4 = new AddressObserver(vip, lab.nodes);
    using observer6 = new AddressObserver('fd00::50', lab.nodes);
    using pinger4 = new Pinger(lab.client, vip);
    using pinger6 = new Pinger(lab.client, 'fd00::50');
    await eventually('answers', () => pinger4.answers.length > 20 && pinger6.answers.length > 20);
    const killedMs = performance.now();
    await a.end('SIGKILL');
    const others = lab.nodes.slice(1);
    for (const address of addresses) {
      await eventually(`another owner of ${address}`, () =>
        others.some((node) => node.state(address) === 'announcing'),
      );
    }
    await pass(500);
    for (const [observer, pinger] of [[observer4, pinger4] as const, [observer6, pinger6] as const]) {
      expect(observer.longestSharedMs).toBe(0);
      const keptMs = observer.lastSeenMs('node-a') - killedMs;
      expect(pinger.outage(killedMs).endedMs - killedMs).toBeLessThan(boundWith(keptMs));
    }
  });

  it('takes the address from an owner that is frozen, which announces nothing when it wakes', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    using pinger = new Pinger(lab.client, vip);
    await eventually('answers', () => pinger.answers.length > 20);
    const frozenMs = performance.now();
    a.signal('SIGSTOP');
    await eventually('the other owns it', () => b.state(vip) === 'announcing');
    await pass(500);
    expect(observer.owners).toEqual(['node-b']);
    const keptMs = observer.lastSeenMs('node-a') - frozenMs;
    expect(pinger.outage(frozenMs).endedMs - frozenMs).toBeLessThan(boundWith(keptMs));
    const wokenMs = performance.now();
    a.signal('SIGCONT');
    await eventually('the woken one knows', () => a.reason(vip) === 'owned by node-b');
    await pass(2_500);
    expect(observer.lastSeenMs('node-a')).toBeLessThan(wokenMs);
    expect(observer.longestSharedMs).toBe(0);
    // Nobody heard the woken node claim the address, and no client lost anything by its waking.
    expect(b.events.filter(({ type }) => type === 'vip.l2-conflict')).toEqual([]);
    expect(pinger.outage(wokenMs).gapMs).toBeLessThan(200);
  });

  it('gives the address up by itself when it is cut off from the lease store', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    using pinger = new Pinger(lab.client, vip);
    await eventually('answers', () => pinger.answers.length > 20);
    const cutMs = performance.now();
    await a.namespace.ip('link', 'set', 'eth1', 'down');
    await eventually('the other owns it', () => b.state(vip) === 'announcing');
    await pass(300);
    expect(observer.longestSharedMs).toBe(0);
    expect(pinger.outage(cutMs).endedMs - cutMs).toBeLessThan(boundMs + slackMs);
    await eventually('the first knows', () => a.state(vip) === 'pending');
    await a.namespace.ip('link', 'set', 'eth1', 'up');
    await eventually('it is back and knows the owner', () => a.reason(vip) === 'owned by node-b');
    expect(observer.longestSharedMs).toBe(0);
  });

  it('hands the address on when its interface goes down', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    await lab.segment.ip('link', 'set', 'node-a', 'down');
    await eventually('the other owns it', () => b.state(vip) === 'announcing');
    await eventually('the first says why', () => a.state(vip) === 'pending' && a.reason(vip).includes('eth0'));
    await lab.segment.ip('link', 'set', 'node-a', 'up');
    await eventually('the link is back', () => a.reason(vip) === 'owned by node-b');
    expect(observer.longestSharedMs).toBe(0);
  });

  it('keeps one owner while the segment is split between the nodes, whichever side the client is on', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    // Links stay up, and what one node sends never reaches the other.
    await isolate(lab, true);
    using pinger = new Pinger(lab.client, vip);
    const splitMs = performance.now();
    await pass(2_500);
    // The lease says who owns it, whatever the segment is like.
    expect(observer.owners).toEqual(['node-a']);
    expect(b.reason(vip)).toBe('owned by node-a');
    expect(observer.longestSharedMs).toBe(0);
    expect(a.state(vip)).toBe('announcing');
    expect(pinger.outage(splitMs).gapMs).toBeLessThan(200);
    await a.end('SIGKILL');
    await eventually('the other owns it', () => b.state(vip) === 'announcing');
    expect(observer.longestSharedMs).toBe(0);
  });

  it('takes no notice of wall clocks that jump a day ahead and two back', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    using pinger = new Pinger(lab.client, vip);
    await eventually('answers', () => pinger.answers.length > 20);
    const jumpedMs = performance.now();
    for (const node of [a, b, a, b]) {
      node.signal('SIGUSR2');
      await pass(700);
    }
    expect(a.events.filter((event) => 'skew' in event)).toHaveLength(2);
    expect(a.state(vip)).toBe('announcing');
    expect(observer.samples.every(({ owners }) => owners.join() === 'node-a')).toBe(true);
    expect(pinger.outage(jumpedMs).gapMs).toBeLessThan(200);
  });

  it('finds out that two nodes do not share a lease store: one of them is in conflict', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = [lab.node(0), lab.node(1)];
    await a.start({ assignments: assigned(vip) });
    await eventually('the first owns it', () => a.state(vip) === 'announcing');
    using observer = new AddressObserver(vip, lab.nodes);
    await b.start({ assignments: assigned(vip) });
    await eventually('the second is in conflict', () => b.state(vip) === 'conflicted');
    expect(b.reason(vip)).toContain('02:00:00:00:00:01');
    expect(observer.longestSharedMs).toBe(0);
    expect(a.state(vip)).toBe('announcing');
  });

  it('ends it when two nodes without a common lease store both announce after a split has healed', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = [lab.node(0), lab.node(1)];
    await isolate(lab, true);
    await Promise.all([a, b].map((node) => node.start({ assignments: assigned(vip) })));
    await eventually('both own it', () => a.state(vip) === 'announcing' && b.state(vip) === 'announcing');
    using observer = new AddressObserver(vip, lab.nodes);
    await isolate(lab, false);
    // Neighbours that meet again announce themselves: here the interface of one went down and up.
    await lab.segment.ip('link', 'set', 'node-b', 'down');
    await eventually('it gives it up', () => b.state(vip) === 'pending');
    await lab.segment.ip('link', 'set', 'node-b', 'up');
    await eventually('the one that comes back finds the other', () => b.state(vip) === 'conflicted');
    expect(a.state(vip)).toBe('announcing');
    await eventually('one has it', () => observer.owners.join() === 'node-a');
  });

  it('makes the station with the higher MAC address yield when both announce', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = [lab.node(0), lab.node(1)];
    await isolate(lab, true);
    // Announced each second for as long as the test lasts, so that it need not wait for the slow repeats.
    const manager = { l2: { announce: { burst: 60 } } };
    await Promise.all([a, b].map((node) => node.start({ assignments: assigned(vip), manager })));
    await eventually('both own it', () => a.state(vip) === 'announcing' && b.state(vip) === 'announcing');
    using observer = new AddressObserver(vip, lab.nodes);
    await isolate(lab, false);
    await eventually('the second yields', () => b.state(vip) === 'conflicted');
    await eventually('one has it', () => observer.owners.join() === 'node-a');
    expect(a.state(vip)).toBe('announcing');
  });

  it('hands over in order within 100 ms, without a pause in which a client would notice', async () => {
    await using lab = await VipLab.create(2);
    const [a, b] = await started(lab);
    using observer = new AddressObserver(vip, lab.nodes);
    using pinger = new Pinger(lab.client, vip);
    await eventually('answers', () => pinger.answers.length > 20);
    const rounds: { readonly gapMs: number; readonly lost: number }[] = [];
    let [owner, heir] = [a, b];
    for (let round = 0; round < 3; round += 1) {
      const stoppedMs = performance.now();
      const ended = owner.end('SIGTERM');
      await eventually('the other owns it', () => heir.state(vip) === 'announcing');
      await ended;
      await pass(300);
      rounds.push(pinger.outage(stoppedMs));
      expect(observer.longestSharedMs).toBe(0);
      expect(heir.reason(vip)).toBe('owned; handed over');
      await owner.start({ etcd: lab.etcd, assignments: assigned(vip) });
      await eventually('the one that is back knows', () => owner.reason(vip) === `owned by ${heir.name}`);
      [owner, heir] = [heir, owner];
    }
    expect(median(rounds.map(({ gapMs }) => gapMs)), JSON.stringify(rounds)).toBeLessThan(100);
    // Two of them go by as a rule (npm run bench -- failover --only handover).
    expect(median(rounds.map(({ lost }) => lost)), JSON.stringify(rounds)).toBeLessThanOrEqual(4);
  });

  it('sweeps what a killed run left, and leaves alone what somebody else put there', async () => {
    await using lab = await VipLab.create(1);
    const a = lab.node(0);
    await a.namespace.ip('address', 'add', '10.0.0.60/32', 'dev', 'eth0');
    using table = inNamespace(a.namespace, () => new AddressTable());
    await table.add({ ip: '10.0.0.61', device: 'eth0' }, undefined);
    await a.start({ etcd: lab.etcd, assignments: assigned(vip, '10.0.0.60') });
    await eventually('an owner', () => a.state(vip) === 'announcing');
    expect(a.events.filter(({ type }) => type === 'vip.swept')).toMatchObject([{ address: '10.0.0.61' }]);
    await eventually('the foreign one is refused', () => a.reason('10.0.0.60').includes('not by this program'));
    const shown = await a.namespace.ip('-o', 'address', 'show');
    expect(shown).toContain('10.0.0.60/32');
    expect(shown).not.toContain('10.0.0.61');
    await a.end('SIGTERM');
    expect(await a.namespace.ip('-o', 'address', 'show')).toContain('10.0.0.60/32');
    expect(await a.namespace.ip('-o', 'address', 'show')).not.toContain(`${vip}/32`);
  });

  it.each([
    ['net_raw', 'CAP_NET_RAW'],
    ['net_admin', 'CAP_NET_ADMIN'],
  ])('names the capability that is missing, and leaves the address to others: %s', async (without, named) => {
    await using lab = await VipLab.create(2);
    const [a, b] = [lab.node(0), lab.node(1)];
    await a.start({ etcd: lab.etcd, assignments: assigned(vip) }, without);
    await eventually('it says what is missing', () => a.reason(vip).includes(named));
    await b.start({ etcd: lab.etcd, assignments: assigned(vip) });
    await eventually('the other owns it', () => b.state(vip) === 'announcing', 20_000);
    expect(a.state(vip)).not.toBe('announcing');
  });
});
