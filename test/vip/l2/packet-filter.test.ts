// The programs run in the kernel: a datagram socket of the Unix family hands a filter the bytes as they were sent.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ipBytes } from '../../../src/core/index.js';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import { SOCK_DGRAM } from '../../../src/internal/native/constants.js';
import { ipText } from '../../../src/internal/native/sockaddr.js';
import { encodeArp, encodeNeighborMessage } from '../../../src/vip/l2/index.js';
import { solicitedNodeAddress } from '../../../src/vip/l2/neighbor-discovery.js';
import { arpFilter, neighborFilter } from '../../../src/vip/l2/packet-filter.js';
import { describeRequiring } from '../../support/requirements.js';

const AF_UNIX = 1;

/** What the kernel lets through. */
class Filtered implements Disposable {
  readonly #addon = nativeAddon('a test');
  readonly #receiver = this.#addon.socket(AF_UNIX, SOCK_DGRAM, 0);
  readonly #sender = this.#addon.socket(AF_UNIX, SOCK_DGRAM, 0);
  readonly #address: Buffer;
  readonly #buffer = Buffer.alloc(2048);

  constructor() {
    // Without a path the kernel chooses an abstract address.
    this.#addon.bind(this.#receiver, Buffer.from([AF_UNIX, 0]));
    this.#address = this.#addon.getsockname(this.#receiver);
  }

  use(program: Buffer): void {
    this.#addon.attachFilter(this.#receiver, program);
  }

  passes(packet: Uint8Array): boolean {
    try {
      this.#addon.sendto(this.#sender, packet, this.#address);
    } catch (error) {
      // A Unix socket tells the sender that a filter threw the datagram away.
      if ((error as { code?: string }).code !== 'EPERM') throw error;
    }
    const received = this.#addon.recvmsg(this.#receiver, this.#buffer);
    if (received === undefined) return false;
    expect(received.length).toBe(packet.length);
    return true;
  }

  [Symbol.dispose](): void {
    this.#addon.close(this.#receiver);
    this.#addon.close(this.#sender);
  }
}

const mac = '02:00:00:00:00:01';
const zero = '00:00:00:00:00:00';
/** Few values, so that addresses of the set and others are both hit. */
const ip4 = fc.nat(700).map((number) => ipText(Uint8Array.of(10, number & 1 ? 255 : 1, number >> 8, number & 0xff)));
const ip6 = fc
  .integer({ min: 1, max: 700 })
  .map((number) =>
    ipText(Uint8Array.of(0xfd, ...new Array<number>(12).fill(0), number & 1, number >> 8, number & 0xff)),
  );
const sets = { maxLength: 600, size: 'max' } as const;

describeRequiring({ native: true }, 'the filters in the kernel', () => {
  test('ARP passes when its sender is of the set, or it is a probe for one of the set', () => {
    using filtered = new Filtered();
    fc.assert(
      fc.property(
        fc.array(ip4, sets),
        fc.array(fc.record({ sender: fc.oneof(ip4, fc.constant('0.0.0.0')), target: ip4 }), { minLength: 20 }),
        (ips, packets) => {
          const wanted = new Set(ips);
          filtered.use(arpFilter([...ips, 'fd00::1']));
          for (const { sender, target } of packets) {
            const packet = encodeArp({
              ...{ operation: 'request', senderMac: mac, senderIp: sender, targetMac: zero, targetIp: target },
            });
            const concerns = wanted.has(sender) || (sender === '0.0.0.0' && wanted.has(target));
            expect(filtered.passes(packet), `${sender} ${target}`).toBe(concerns);
          }
        },
      ),
    );
  });

  test('neighbour discovery passes when it speaks for, or probes for, one of the set', () => {
    using filtered = new Filtered();
    const message = fc.record({ source: fc.oneof(ip6, fc.constant('::')), target: ip6, advertises: fc.boolean() });
    fc.assert(
      fc.property(fc.array(ip6, sets), fc.array(message, { minLength: 20 }), (ips, messages) => {
        const wanted = new Set(ips);
        filtered.use(neighborFilter([...ips, '192.0.2.1']));
        for (const { source, target, advertises } of messages) {
          const packet = encodeNeighborMessage({
            ...{ source, target, destination: solicitedNodeAddress(target) },
            ...(advertises
              ? { type: 'advertisement', isRouter: false, isSolicited: false, isOverride: true }
              : { type: 'solicitation' }),
          });
          const concerns = wanted.has(source) || (wanted.has(target) && (advertises || source === '::'));
          expect(filtered.passes(packet), `${source} ${target} ${String(advertises)}`).toBe(concerns);
        }
      }),
    );
  });

  test('other ICMPv6, a lower hop limit and what is too short do not pass', () => {
    using filtered = new Filtered();
    filtered.use(neighborFilter(['fd00::1']));
    const probe = encodeNeighborMessage({
      ...{ type: 'solicitation', source: '::', destination: solicitedNodeAddress('fd00::1'), target: 'fd00::1' },
    });
    expect(filtered.passes(probe)).toBe(true);
    const changed = (at: number, value: number): Buffer => {
      const packet = Buffer.from(probe);
      packet[at] = value;
      return packet;
    };
    expect(filtered.passes(changed(7, 254))).toBe(false);
    expect(filtered.passes(changed(6, 17))).toBe(false);
    expect(filtered.passes(changed(40, 134))).toBe(false);
    expect(filtered.passes(probe.subarray(0, 60))).toBe(false);
    expect(filtered.passes(Buffer.alloc(1))).toBe(false);
  });

  test('with 700 addresses, and with more than a program holds, none is missed', () => {
    using filtered = new Filtered();
    for (const count of [700, 3000]) {
      const ips = Array.from({ length: count }, (_, index) => `10.9.${String(index >> 8)}.${String(index & 0xff)}`);
      filtered.use(arpFilter(ips));
      const packet = (senderIp: string): Buffer =>
        encodeArp({ operation: 'reply', senderMac: mac, senderIp, targetMac: mac, targetIp: '10.0.0.1' });
      expect(ips.filter((ip) => !filtered.passes(packet(ip)))).toEqual([]);
      if (count === 700) expect(filtered.passes(packet('10.8.0.1'))).toBe(false);
    }
  });

  test('an IPv6 address that is alike in its last bytes may pass: the receiver compares whole addresses', () => {
    using filtered = new Filtered();
    filtered.use(neighborFilter(['fd00::1']));
    const alike = encodeNeighborMessage({
      ...{ type: 'advertisement', source: 'fd99::1', destination: 'ff02::1', target: 'fd99::1' },
      ...{ isRouter: false, isSolicited: false, isOverride: true },
    });
    expect(filtered.passes(alike)).toBe(true);
    expect(ipBytes('fd99::1').at(-1)).toBe(1);
  });
});
