/**
 * The thread that owns the sockets and timers of BFD, so that nothing the main thread does can delay them. An entry of its
 * own: `BfdService` starts it, and nothing imports it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock, systemRandom } from '../../core/index.js';
import { nativeAddon } from '../../internal/native/addon.js';
import { DescriptorLedger } from './descriptor-ledger.js';
import { BfdEngine } from './engine.js';
import type { BfdCommand, BfdNotice } from './messages.js';
import { UdpNetwork } from './udp-network.js';

const port = parentPort;
if (port === null) throw new Error('the BFD worker was started outside of a worker thread');

const tell = (notice: BfdNotice): void => port.postMessage(notice);
const addon = new DescriptorLedger(workerData as SharedArrayBuffer).keeping(nativeAddon('BFD'));
const engine = new BfdEngine({
  network: (onDatagram) => new UdpNetwork(addon, systemRandom, onDatagram),
  clock: systemClock,
  random: systemRandom,
  onStatus: (id, status) => tell({ type: 'status', id, status }),
  onRemoved: (id) => tell({ type: 'removed', id }),
  onRefusals: (refusals) => tell({ type: 'refusals', refusals }),
});

port.on('message', (command: BfdCommand) => {
  switch (command.type) {
    case 'add':
      engine.add(command.id, command.settings);
      break;
    case 'change-timers':
      engine.changeTimers(command.id, command.timers);
      break;
    case 'remove':
      engine.remove(command.id);
      break;
    case 'end':
      // Without sockets, timers and this port the thread has nothing left, and ends.
      engine.destroy();
      port.close();
      break;
  }
});
tell({ type: 'ready' });
