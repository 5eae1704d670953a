import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { Daemon } from '../peers/daemon.js';
import { until } from '../peers/until.js';
import { birdRouter } from './support/bird-config.js';
import { RouterLab, agentAs, peerOf, quick, untilState } from './support/router-lab.js';

const vip = '203.0.113.10';
const other = '203.0.113.11';
const config = birdRouter({ bgp: 'graceful restart on; graceful restart time 10;' });

describeRequiring({ netns: true, native: true, commands: ['bird', 'birdc'] }, 'graceful restart with BIRD', () => {
  test('this side restarts: routes stay in the kernel, and what is not announced again goes at End-of-RIB', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, config);
    const gracefulRestart = { restartTimeSeconds: 20 };
    const { speaker } = await lab.speaker(1, { gracefulRestart });
    speaker.announce({ prefix: vip });
    speaker.announce({ prefix: other });
    await lab.untilNextHops(other, ['10.20.0.1']);
    expect(await untilState(speaker, 'established')).toMatchObject({ restartTimeSeconds: 20 });
    speaker.destroy();
    await until('BIRD waits', async () =>
      /Neighbor graceful restart active/.test(await bird.birdc('show protocols all a1')),
    );
    expect(await lab.kernelNextHops(vip)).toEqual(['10.20.0.1']);

    const watch = { lost: 0, looks: 0, on: true };
    const watching = (async () => {
      while (watch.on) {
        watch.looks += 1;
        if ((await lab.kernelNextHops(vip)).length === 0) watch.lost += 1;
        await delay(20);
      }
    })();
    const { speaker: again, events } = await lab.speaker(1, {
      gracefulRestart: { ...gracefulRestart, restarting: true },
    });
    await untilState(again, 'established');
    await delay(500);
    // Nothing is said of the routes yet: the peer must go on with the old ones.
    expect(await lab.kernelNextHops(vip)).toEqual(['10.20.0.1']);
    expect(
      events.some(
        ({ type, ...rest }) => type === 'vip.bgp-end-of-rib' && 'direction' in rest && rest.direction === 'sent',
      ),
    ).toBe(false);
    again.announce({ prefix: vip });
    again.routesComplete();
    await lab.untilNextHops(other, []);
    watch.on = false;
    await watching;
    expect(watch.looks).toBeGreaterThan(10);
    expect(watch.lost).toBe(0);
    // An orderly end is none of this: the routes go at once.
    await again.close();
    await lab.untilNextHops(vip, [], 8000);
  });

  test('a restarted speaker that never says that it is complete is complete by itself', async () => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(lab.router, config);
    const { speaker, events } = await lab.speaker(1, {
      gracefulRestart: { restarting: true, routesCompleteWithinMs: 4000 },
    });
    await untilState(speaker, 'established');
    const sent = (): boolean =>
      events.some((event) => event.type === 'vip.bgp-end-of-rib' && event.direction === 'sent');
    expect(sent()).toBe(false);
    await until('End-of-RIB', sent);
  });

  test('the process is killed and another follows: the kernel of the router has the route at every look', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, config);
    const start = (restarting: boolean): Daemon => {
      const options = {
        localAs: agentAs,
        routerId: '10.20.0.1',
        peers: [quick({})],
        gracefulRestart: { restartTimeSeconds: 60, restarting },
      };
      const script = fileURLToPath(new URL('./support/speaker-process.ts', import.meta.url));
      const node = ['--conditions=meshwright-source', '--import', 'tsx', script, JSON.stringify(options), vip];
      return new Daemon(lab.agent(1), process.execPath, node);
    };
    const first = start(false);
    await lab.untilNextHops(vip, ['10.20.0.1'], 30_000);
    const looks: (readonly string[])[] = [];
    let watched = true;
    const watching = (async () => {
      for (; watched; await delay(20)) looks.push(await lab.kernelNextHops(vip));
    })();
    await first.stop('SIGKILL');
    await until('BIRD waits', async () =>
      /Neighbor graceful restart active/.test(await bird.birdc('show protocols all a1')),
    );
    const second = start(true);
    await bird.established('a1', 30_000);
    await until('End-of-RIB', async () => !/graceful restart active/.test(await bird.birdc('show protocols all a1')));
    await delay(200);
    watched = false;
    await watching;
    expect(looks.length).toBeGreaterThan(10);
    expect(looks.filter((hops) => hops.join() !== '10.20.0.1')).toEqual([]);
    // An orderly end withdraws.
    await second.stop('SIGTERM');
    await lab.untilNextHops(vip, [], 8000);
  });

  test('without graceful restart the routes go with the process', async () => {
    await using lab = await RouterLab.create();
    await using _bird = await Bird.start(lab.router, config);
    const { speaker } = await lab.speaker(1);
    speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1']);
    speaker.destroy();
    // Far below the restart time of 10 s, for which they would be kept otherwise.
    await lab.untilNextHops(vip, [], 6000);
  });

  test('the peer restarts: it is told everything again, and its kernel keeps the route meanwhile', async () => {
    await using lab = await RouterLab.create();
    const persistent = config.replaceAll('merge paths yes limit 16; }', 'merge paths yes limit 16; persist on; }');
    await using bird = await Bird.start(lab.router, persistent);
    const { speaker } = await lab.speaker(1, { listen: {}, gracefulRestart: {} });
    speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1']);
    await bird.stop('SIGKILL');
    await until('the loss is seen', () => peerOf(speaker).state !== 'established');
    expect(await lab.kernelNextHops(vip)).toEqual(['10.20.0.1']);
    await bird.restart({ graceful: true });
    await bird.established('a1');
    await untilState(speaker, 'established');
    await until('the route is BIRD’s again', async () => (await bird.birdc('show route')).includes(vip));
    await lab.untilNextHops(vip, ['10.20.0.1']);
    speaker.withdraw(vip);
    await lab.untilNextHops(vip, []);
  });

  test('a peer that restarted without our noticing replaces the session that we still see', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, config);
    const { speaker } = await lab.speaker(1, {
      listen: {},
      gracefulRestart: {},
      peers: [{ passive: true, holdTimeSeconds: 90 }],
    });
    speaker.announce({ prefix: vip });
    await lab.untilNextHops(vip, ['10.20.0.1']);
    const { sessions } = peerOf(speaker);
    // What the kernel says about the end of the connection is lost.
    await lab.router.exec('nft', ['-f', '-'], {
      input: 'table inet t { chain o { type filter hook output priority 0; tcp flags & (fin | rst) != 0 drop; }; }',
    });
    await bird.stop('SIGKILL');
    await delay(200);
    expect(peerOf(speaker).state).toBe('established');
    await lab.router.exec('nft', ['delete', 'table', 'inet', 't']);
    await bird.restart({ graceful: true });
    await bird.established('a1');
    await until(
      'the new session',
      () => peerOf(speaker).state === 'established' && peerOf(speaker).sessions === sessions + 1,
    );
    await lab.untilNextHops(vip, ['10.20.0.1']);
  });
});
