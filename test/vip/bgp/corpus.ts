import { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from '../../../src/vip/bgp/codec/encode-update.js';
import { BgpFramer, encodeMessage } from '../../../src/vip/bgp/codec/framing.js';
import type { BgpMessage } from '../../../src/vip/bgp/codec/message.js';
import { decodeMessage } from '../../../src/vip/bgp/codec/message.js';
import { cease, encodeNotificationBody } from '../../../src/vip/bgp/codec/notification.js';
import { encodeOpen } from '../../../src/vip/bgp/codec/open.js';
import { parsePrefix } from '../../../src/vip/bgp/codec/prefix.js';
import type { BgpRefusal } from '../../../src/vip/bgp/codec/decoded.js';
import { capturedMessages } from './captured-messages.js';

/** Whole messages to mutate: captured ones of BIRD, FRR and GoBGP, and our own. */
export function bgpCorpus(): readonly Buffer[] {
  const attributes = {
    origin: 'igp' as const,
    asPath: [{ type: 'sequence' as const, asns: [64_513, 4_200_000_001] }],
    med: 5,
    localPreference: 100,
    communities: [0xffff_0000, 1],
    largeCommunities: [[1, 2, 3] as const],
  };
  const networks = (...texts: readonly string[]) => texts.map(parsePrefix);
  return [
    ...capturedMessages.map(({ hex }) => Buffer.from(hex, 'hex')),
    encodeOpen({
      as: 4_200_000_001,
      holdTimeSeconds: 90,
      routerId: '10.0.0.1',
      capabilities: {
        families: ['ipv4', 'ipv6'],
        fourOctetAs: 4_200_000_001,
        routeRefresh: true,
        gracefulRestart: {
          restarting: true,
          restartTimeSeconds: 120,
          families: [{ family: 'ipv4', forwardingPreserved: true }],
        },
      },
    }),
    ...encodeAnnouncements(networks('10.0.0.0/8', '203.0.113.1'), 'ipv4', attributes, '10.0.0.1', {
      fourOctetAs: false,
    }),
    ...encodeAnnouncements(networks('2001:db8::/32', '::/0'), 'ipv6', attributes, 'fd00::1', { fourOctetAs: true }),
    ...encodeWithdrawals(networks('2001:db8::1'), 'ipv6'),
    encodeEndOfRib('ipv6'),
    encodeMessage(3, encodeNotificationBody(cease(2, 'maintenance'))),
  ];
}

export type BgpFuzzOutcome = BgpMessage['type'] | BgpRefusal['reason'] | 'incomplete';

/**
 * What the speaker does with a message: framing, then decoding in each context. Throws only if the code is wrong. The
 * outcome of the first message is returned, for counting.
 */
export function decodeBgpBytes(bytes: Uint8Array): BgpFuzzOutcome {
  let first: BgpFuzzOutcome | undefined;
  const framer = new BgpFramer();
  framer.push(bytes);
  for (;;) {
    const frame = framer.next();
    if (frame === undefined) return first ?? 'incomplete';
    if (!frame.ok) return first ?? frame.reason;
    for (const fourOctetAs of [true, false]) {
      for (const internal of [true, false]) {
        const message = decodeMessage(frame.value, { fourOctetAs, internal });
        first ??= message.ok ? message.value.type : message.reason;
      }
    }
  }
}
