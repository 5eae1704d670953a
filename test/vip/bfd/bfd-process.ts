/** BFD in a process of its own, to be stopped and killed: sessions as JSON in the first argument, statuses as JSON lines out. */
import { BfdService } from '../../../src/vip/bfd/index.js';
import type { BfdSessionOptions } from '../../../src/vip/bfd/index.js';

const sessions = JSON.parse(process.argv[2] ?? '[]') as readonly BfdSessionOptions[];
const bfd = await BfdService.create();
for (const options of sessions) {
  bfd.add({
    ...options,
    onChange: (status) => process.stdout.write(`${JSON.stringify({ peer: options.peer, ...status })}\n`),
  });
}
process.once('SIGTERM', () => void bfd.close());
