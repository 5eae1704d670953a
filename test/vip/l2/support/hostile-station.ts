// Sends mutated ARP and neighbour discovery for a while, to everybody. <interface index> <packets>
import { systemClock } from '../../../../src/core/index.js';
import { nativeAddon } from '../../../../src/internal/native/addon.js';
import { broadcastMac } from '../../../../src/vip/l2/mac.js';
import { PacketSocket } from '../../../../src/vip/l2/packet-socket.js';
import { mutate } from '../../mutate.js';
import { arpCorpus, judgeNeighbor, neighborCorpus } from '../corpus.js';

const [index = '', packets = ''] = process.argv.slice(2);
const nothing = (): void => undefined;
let sent = 0;
for (const [protocol, corpus] of [
  ['arp', arpCorpus()],
  ['nd', neighborCorpus()],
] as const) {
  using socket = new PacketSocket({
    ...{ addon: nativeAddon('a test'), clock: systemClock, protocol, interfaceIndex: Number(index) },
    ...{ onPacket: nothing, onOverload: nothing, maxPacketsPerSecond: 10 },
  });
  for (const bytes of mutate(corpus, 1, Number(packets))) {
    // Puts a right checksum on half of them.
    if (protocol === 'nd') judgeNeighbor(bytes);
    try {
      if (socket.send({ protocol, destinationMac: broadcastMac, bytes })) sent += 1;
    } catch {
      // Longer than the link carries.
    }
    // Below the rate at which a station would stop looking.
    if (sent % 20 === 0) await new Promise<void>((resolve) => void systemClock.timer(12, resolve, { keepAlive: true }));
  }
}
process.stdout.write(String(sent));
