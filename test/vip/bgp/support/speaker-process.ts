// A speaker in a process of its own, to be killed: takes its options as JSON, and announces the prefixes named after them.
import { BgpSpeaker } from '../../../../src/vip/bgp/index.js';
import type { BgpSpeakerOptions } from '../../../../src/vip/bgp/index.js';

const [options = '{}', ...prefixes] = process.argv.slice(2);
const speaker = await BgpSpeaker.create(JSON.parse(options) as BgpSpeakerOptions);
for (const prefix of prefixes) speaker.announce({ prefix });
speaker.routesComplete();
process.once('SIGTERM', () => void speaker.close());
