// Ends 20 workers with polls open, then lets a callback throw. <path of the addon>
import { createRequire } from 'node:module';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

const path = isMainThread ? process.argv[2] : workerData;
const addon = createRequire(import.meta.url)(path);
const datagramSocket = () => addon.socket(2, 2, 0);

if (!isMainThread) {
  for (let count = 0; count < 5; count += 1) {
    const fd = datagramSocket();
    const poll = addon.poll(fd, 2, () => undefined);
    if (count === 0) addon.pollClose(poll);
    if (count === 1) addon.pollUnref(poll);
  }
  parentPort.postMessage('open');
} else {
  let workersEnded = 0;
  for (let round = 0; round < 20; round += 1) {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: path });
    await new Promise((resolve) => worker.once('message', resolve));
    await worker.terminate();
    workersEnded += 1;
  }
  // Handles that were dropped without closing, and collected.
  for (let count = 0; count < 50; count += 1) addon.pollClose(addon.poll(datagramSocket(), 1, () => undefined));
  globalThis.gc();

  const result = { workersEnded };
  const poll = addon.poll(datagramSocket(), 2, () => {
    if (result.uncaught === undefined) throw new Error('thrown by the callback');
    result.afterwards = 'still called';
    addon.pollClose(poll);
    process.stdout.write(JSON.stringify(result));
  });
  process.on('uncaughtException', (error) => {
    result.uncaught = error.message;
  });
}
