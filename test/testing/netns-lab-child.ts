// A process that makes a lab, prints the path of a namespace in it, and waits for its end (or, given `once`, closes).
import { NetnsLab } from '../../src/testing/netns-lab.js';

const lab = await NetnsLab.create();
const namespace = await lab.namespace('left-behind');
namespace.spawn('sleep', ['1000'], { stdio: 'ignore' });
process.stdout.write(`${namespace.path}\n`);
if (process.argv[2] === 'once') await lab.close();
else setInterval(() => undefined, 1000);
