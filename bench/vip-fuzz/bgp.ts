/** More BGP messages to mutate, beside the captured ones: of every type, with every attribute that routers send. */
import { decodeMessage } from '../../src/vip/bgp/codec/message.js';
import { encodeOpen } from '../../src/vip/bgp/codec/open.js';
import { encodeEndOfRib } from '../../src/vip/bgp/codec/encode-update.js';
import { BgpFramer, encodeKeepalive, encodeMessage } from '../../src/vip/bgp/codec/framing.js';
import { encodeRouteRefresh } from '../../src/vip/bgp/codec/route-refresh.js';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const uint16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const attribute = (flags: number, type: number, value: string): Buffer =>
  Buffer.concat([Buffer.from([flags, type, hex(value).length]), hex(value)]);
const capability = (code: number, value: string): Buffer =>
  Buffer.concat([Buffer.from([2, hex(value).length + 2, code, hex(value).length]), hex(value)]);

function update(withdrawn: Buffer, attributes: Buffer, announced: Buffer): Buffer {
  return encodeMessage(2, uint16(withdrawn.length), withdrawn, uint16(attributes.length), attributes, announced);
}

const none = Buffer.alloc(0);
const prefixes = hex('20 cb00710a  18 c63364  00');
const usual = Buffer.concat([
  attribute(0x40, 1, '00'), // ORIGIN
  attribute(0x40, 2, '02 02 0000fbf0 0000fc00  01 01 0000fde8'), // AS_PATH: a sequence and a set
  attribute(0x40, 3, '0a140001'), // NEXT_HOP
  attribute(0x80, 4, '00000014'), // MULTI_EXIT_DISC
  attribute(0x40, 5, '00000064'), // LOCAL_PREF
]);
const rare = Buffer.concat([
  attribute(0x40, 6, ''), // ATOMIC_AGGREGATE
  attribute(0xc0, 7, '0000fbf0 0a140001'), // AGGREGATOR
  attribute(0xc0, 8, 'ffff0000 fbf00007'), // COMMUNITIES
  attribute(0x80, 9, '0a140001'), // ORIGINATOR_ID
  attribute(0x80, 10, '0a140001 0a140002'), // CLUSTER_LIST
  attribute(0xc0, 16, '0002fbf000000007'), // EXTENDED COMMUNITIES
  attribute(0xc0, 17, '02 01 0000fbf0'), // AS4_PATH
  attribute(0xc0, 18, '0000fbf0 0a140001'), // AS4_AGGREGATOR
  attribute(0xc0, 32, '0000fbf0 00000001 00000002'), // LARGE_COMMUNITY
]);
const reach = attribute(
  0x80,
  14,
  '0002 01 10 fd200000000000000000000000000001 00  80 20010db8000000000000000000000010',
);
const unreach = attribute(0x80, 15, '0002 01  80 20010db8000000000000000000000010');

/** As FRR sends it: a parameter for each capability. */
function frrOpen(): Buffer {
  const parameters = Buffer.concat([
    capability(1, '0001 00 01'),
    capability(1, '0002 00 01'),
    capability(0x80, ''), // route refresh, as Cisco once did
    capability(2, ''),
    capability(70, ''),
    capability(65, '0000fc00'),
    capability(6, ''),
    capability(69, '0001 01 01 0002 01 01'), // add-path
    capability(73, '06 726f75746572 00'), // host name
    capability(64, '4078 0001 01 80'), // graceful restart
    capability(71, '0001 01 80 000000'),
  ]);
  return encodeMessage(1, hex('04 fc00 0009 0a1400fe'), Buffer.from([parameters.length]), parameters);
}

export function moreBgpMessages(): readonly Uint8Array[] {
  return [
    encodeOpen({
      as: 4_200_000_000,
      holdTimeSeconds: 9,
      routerId: '10.20.0.1',
      capabilities: { families: ['ipv4', 'ipv6'], fourOctetAs: 4_200_000_000, routeRefresh: true },
    }),
    frrOpen(),
    encodeKeepalive(),
    encodeRouteRefresh('ipv6'),
    encodeEndOfRib('ipv4'),
    encodeEndOfRib('ipv6'),
    encodeMessage(3, Buffer.from([6, 2, 5]), Buffer.from('later')),
    encodeMessage(3, Buffer.from([3, 1, 0x40, 1, 1, 9])),
    update(none, usual, prefixes),
    update(prefixes, Buffer.concat([usual, rare]), prefixes),
    update(none, Buffer.concat([reach, usual]), none),
    update(none, unreach, none),
    Buffer.concat([encodeKeepalive(), update(prefixes, none, none), encodeKeepalive()]),
  ];
}

/** What came of the bytes of a stream. About half get a good header, without which most would end at the first rule. */
export function judgeBgp(bytes: Uint8Array): string {
  const dice = bytes.reduce((sum, byte) => sum + byte, 0);
  if (dice % 2 === 0 && bytes.length >= 19) {
    bytes.fill(0xff, 0, 16);
    bytes[16] = bytes.length >> 8;
    bytes[17] = bytes.length & 0xff;
  }
  const framer = new BgpFramer();
  framer.push(bytes);
  let outcome = 'unfinished';
  for (;;) {
    const frame = framer.next();
    if (frame === undefined) return outcome;
    if (!frame.ok) return frame.reason;
    const message = decodeMessage(frame.value, { fourOctetAs: true, internal: dice % 4 < 2 });
    if (!message.ok) return message.reason;
    const faults = message.value.type === 'update' ? message.value.update.errors : [];
    outcome = faults.length === 0 ? 'ok' : `kept the session: ${faults[0]?.fault ?? ''}`;
  }
}
