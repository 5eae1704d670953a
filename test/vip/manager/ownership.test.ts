import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { SimulatedCluster } from './simulated-cluster.js';

const vip = '192.0.2.10';
const assignments = [{ name: 'web', addresses: [vip], mode: 'l2' as const }];

async function cluster(size: number, seed: number): Promise<SimulatedCluster> {
  const made = new SimulatedCluster(size, vip, seed);
  for (const node of made.nodes) await node.start(assignments);
  return made;
}

const announcing = (made: SimulatedCluster): readonly string[] =>
  made.nodes.filter(({ manager }) => manager?.state[0]?.state === 'announcing').map(({ name }) => name);

it('never has an address on two nodes, nor announced by one that does not own it, under any delays, failures and pauses', async () => {
  const step = fc.record({
    what: fc.constantFrom(
      ...([
        'freeze-owner',
        'freeze',
        'thaw',
        'thaw-all',
        'cut-owner',
        'heal',
        'sick-owner',
        'sick-owner',
        'well',
        'leave-owner',
        'leave-owner',
        'join-all',
        'nothing',
      ] as const),
    ),
    who: fc.nat({ max: 2 }),
    forMs: fc.integer({ min: 10, max: 1_500 }),
  });
  let handedOn = 0;
  let handovers = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), fc.integer(), async (steps, seed) => {
      const made = await cluster(3, seed);
      try {
        await made.pass(1_000);
        let owners = announcing(made).join();
        for (const { what, who, forMs } of steps) {
          const node = what.endsWith('owner')
            ? made.nodes.find(({ name }) => announcing(made).includes(name))
            : made.nodes[who];
          if (what.startsWith('freeze')) node?.clock.freeze();
          if (what === 'thaw-all') for (const { clock } of made.nodes) clock.thaw();
          if (what === 'thaw') node?.clock.thaw();
          if (what === 'cut-owner' && node !== undefined) node.cut = true;
          if (what === 'sick-owner' && node !== undefined) node.healthy = false;
          if (what === 'well') for (const each of made.nodes) each.healthy = true;
          // In order: a process that is frozen does nothing of the kind.
          if (what === 'leave-owner' && node?.clock.frozen === false) void node.manager?.apply([]);
          if (what === 'join-all') {
            for (const { clock, manager } of made.nodes) if (!clock.frozen) void manager?.apply(assignments);
          }
          if (what === 'heal' && node !== undefined) node.cut = false;
          await made.pass(forMs);
          expect(made.violations).toEqual([]);
          if (announcing(made).join() !== owners) handedOn += 1;
          owners = announcing(made).join();
        }
        // And once all is well, somebody owns it, and nobody else.
        made.calm = true;
        for (const node of made.nodes) {
          node.cut = false;
          node.healthy = true;
          node.clock.thaw();
          void node.manager?.apply(assignments);
        }
        await made.pass(8_000);
        expect(made.violations).toEqual([]);
        expect(announcing(made)).toHaveLength(1);
      } finally {
        handovers += made.handovers;
        made.destroy();
      }
    }),
    { numRuns: 100 },
  );
  // The steps above do change owners: the test is not about a cluster in which nothing happens.
  expect(handedOn).toBeGreaterThan(100);
  expect(handovers).toBeGreaterThan(20);
}, 60_000);

it('hands over in order, one owner after the other', async () => {
  const made = await cluster(3, 7);
  made.calm = true;
  await made.pass(2_000);
  for (let left = 3; left > 1; left -= 1) {
    const [name] = announcing(made);
    const owner = made.nodes.find((node) => node.name === name);
    const closing = owner?.manager?.close();
    await made.pass(3_000);
    await closing;
    expect(announcing(made)).toHaveLength(1);
    expect(announcing(made)).not.toContain(name);
    expect(made.violations).toEqual([]);
  }
  expect(made.handovers).toBe(2);
  made.destroy();
});

it('never announces what a stranger has, though the nodes hand the lease around', async () => {
  const made = new SimulatedCluster(3, vip, 5);
  made.stranger = true;
  for (const node of made.nodes) await node.start(assignments);
  await made.pass(60_000);
  expect(made.violations).toEqual([]);
  const conflicted = made.nodes.filter(({ manager }) => manager?.state[0]?.state === 'conflicted');
  expect(conflicted).toHaveLength(3);
  made.stranger = false;
  await made.pass(130_000);
  expect(announcing(made)).toHaveLength(1);
  expect(made.violations).toEqual([]);
  made.destroy();
});
