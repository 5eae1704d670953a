// The BFD thread, which dies when it is asked to change timers to a multiplier of 99.
import { parentPort } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
await import(new URL('../../../src/vip/bfd/worker.ts', import.meta.url));
parentPort.on('message', (command) => {
  if (command.timers?.detectMultiplier === 99) throw new Error('asked to die');
});
