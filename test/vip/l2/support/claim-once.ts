// Says once that an address is here, and does not mind an answer. <interface index> <mac> <ip>
import { systemClock } from '../../../../src/core/index.js';
import { nativeAddon } from '../../../../src/internal/native/addon.js';
import { PacketSocket } from '../../../../src/vip/l2/packet-socket.js';
import { announcementPackets } from '../../../../src/vip/l2/sighting.js';

const [index = '', mac = '', ip = ''] = process.argv.slice(2);
const nothing = (): void => undefined;
for (const packet of announcementPackets(ip, mac, false)) {
  using socket = new PacketSocket({
    ...{ addon: nativeAddon('a test'), clock: systemClock, protocol: packet.protocol, interfaceIndex: Number(index) },
    ...{ onPacket: nothing, onOverload: nothing, maxPacketsPerSecond: 10 },
  });
  socket.send(packet);
}
