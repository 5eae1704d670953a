import { expect, test } from 'vitest';
import { describeRequiring } from '../../support/requirements.js';
import { Bird } from '../peers/bird.js';
import { birdRouter } from './support/bird-config.js';
import { RouterLab, untilState } from './support/router-lab.js';

describeRequiring({ netns: true, native: true, commands: ['bird', 'birdc'] }, 'a speaker and BIRD', () => {
  test('a session over IPv4 carries routes of both families into the kernel of the router, and takes them back', async () => {
    await using lab = await RouterLab.create();
    await using bird = await Bird.start(lab.router, birdRouter());
    const { speaker } = await lab.speaker(1, { peers: [{ nextHop: { ipv6: 'fd20::1' } }] });
    speaker.announce({ prefix: '203.0.113.10/32', attributes: { communities: ['64513:7'], med: 20 } });
    speaker.announce({ prefix: '2001:db8::10/128' });
    await bird.established('a1');
    await untilState(speaker, 'established');
    await lab.untilNextHops('203.0.113.10', ['10.20.0.1']);
    await lab.untilNextHops('2001:db8::10', ['fd20::1']);
    expect(await bird.birdc('show route all 203.0.113.10/32')).toMatch(/BGP\.community: \(64513,7\)/);
    speaker.withdraw('203.0.113.10/32');
    await lab.untilNextHops('203.0.113.10', []);
    await speaker.close();
    await lab.untilNextHops('2001:db8::10', []);
    expect(bird.output).toMatch(/Received: Administrative shutdown/i);
  });
});
