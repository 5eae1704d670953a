import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PathAttributes } from '../../../src/vip/bgp/codec/attributes.js';
import { decodeUpdate } from '../../../src/vip/bgp/codec/decode-update.js';
import type { BgpUpdate } from '../../../src/vip/bgp/codec/decode-update.js';
import type { BgpDecoded } from '../../../src/vip/bgp/codec/decoded.js';
import { encodeAnnouncements, encodeEndOfRib, encodeWithdrawals } from '../../../src/vip/bgp/codec/encode-update.js';
import { BgpFramer, encodeKeepalive, encodeMessage } from '../../../src/vip/bgp/codec/framing.js';
import { decodeMessage } from '../../../src/vip/bgp/codec/message.js';
import {
  cease,
  decodeNotification,
  describeNotification,
  encodeNotificationBody,
  notification,
  shutdownCommunication,
} from '../../../src/vip/bgp/codec/notification.js';
import { decodeOpen, encodeOpen } from '../../../src/vip/bgp/codec/open.js';
import type { BgpOpen } from '../../../src/vip/bgp/codec/open.js';
import { parsePrefix, prefixText } from '../../../src/vip/bgp/codec/prefix.js';
import { encodeRouteRefresh } from '../../../src/vip/bgp/codec/route-refresh.js';
import { capturedMessages } from './captured-messages.js';
import { bgpCorpus, decodeBgpBytes } from './corpus.js';

const external = { fourOctetAs: true, internal: false };
const internal = { fourOctetAs: true, internal: true };

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const asn = fc.integer({ min: 1, max: 0xffff_ffff });
const dotted = fc
  .tuple(fc.integer({ min: 1, max: 126 }), fc.nat(255), fc.nat(255), fc.nat(255))
  .map((parts) => parts.join('.'));
const family = fc.constantFrom('ipv4' as const, 'ipv6' as const);
const prefixes = (of: 'ipv4' | 'ipv6') =>
  fc.array(
    fc
      .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(of === 'ipv4' ? 32 : 128))
      .map(([bytes, length]) => {
        const octets = bytes.slice(0, (length + 7) >> 3);
        const last = octets.length - 1;
        if (last >= 0 && (length & 7) !== 0) octets[last] = (octets[last] ?? 0) & (0xff << (8 - (length & 7)));
        return { family: of, length, octets };
      }),
    { minLength: 1, maxLength: 600 },
  );

/** All frames of a stream; every one must be good. */
function frames(bytes: Uint8Array) {
  const framer = new BgpFramer();
  framer.push(bytes);
  const out: { type: number; body: Buffer }[] = [];
  for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
    if (!frame.ok) throw new Error(frame.reason);
    out.push({ type: frame.value.type, body: Buffer.from(frame.value.body) });
  }
  expect(framer.pendingBytes).toBe(0);
  return out;
}

function body(message: Uint8Array): Buffer {
  const [frame] = frames(message);
  if (frame === undefined) throw new Error('no message');
  return frame.body;
}

function good<T>(decoded: BgpDecoded<T>): T {
  if (!decoded.ok) throw new Error(`refused: ${decoded.reason}`);
  return decoded.value;
}

describe('framing', () => {
  test('a stream cut anywhere gives the same messages', () => {
    const stream = Buffer.concat(bgpCorpus());
    const whole = frames(stream);
    expect(whole.length).toBe(bgpCorpus().length);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (cuts) => {
        const framer = new BgpFramer();
        const out: string[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          const end = Math.min(stream.length, at + (cuts[turn % cuts.length] ?? 1));
          framer.push(stream.subarray(at, end));
          at = end;
          for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
            out.push(good(frame).body.toString('hex'));
          }
          expect(framer.pendingBytes).toBeLessThan(4096);
        }
        expect(out).toEqual(whole.map((frame) => frame.body.toString('hex')));
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    {
      name: 'a marker that is not all ones',
      bytes: [...Array<number>(5).fill(0xff), 0],
      reason: 'marker-not-ones',
      code: [1, 1],
    },
    { name: 'too short', bytes: header(18, 4), reason: 'message-length', code: [1, 2], data: [0, 18] },
    { name: 'too long', bytes: header(4097, 2), reason: 'message-length', code: [1, 2], data: [16, 1] },
    { name: 'an OPEN that is too short', bytes: header(28, 1), reason: 'message-length', code: [1, 2], data: [0, 28] },
    {
      name: 'an UPDATE that is too short',
      bytes: header(22, 2),
      reason: 'message-length',
      code: [1, 2],
      data: [0, 22],
    },
    {
      name: 'a NOTIFICATION that is too short',
      bytes: header(20, 3),
      reason: 'message-length',
      code: [1, 2],
      data: [0, 20],
    },
    {
      name: 'a KEEPALIVE with something in it',
      bytes: header(20, 4),
      reason: 'message-length',
      code: [1, 2],
      data: [0, 20],
    },
    {
      name: 'a ROUTE-REFRESH of another length',
      bytes: header(24, 5),
      reason: 'message-length',
      code: [1, 2],
      data: [0, 24],
    },
    { name: 'type 0', bytes: header(19, 0), reason: 'message-type', code: [1, 3], data: [0] },
    { name: 'type 6', bytes: header(30, 6), reason: 'message-type', code: [1, 3], data: [6] },
  ])('$name', ({ bytes, reason, code, data }) => {
    const framer = new BgpFramer();
    framer.push(Uint8Array.from(bytes));
    expect(framer.next()).toEqual({
      ok: false,
      reason,
      notification: notification(code[0] ?? 0, code[1] ?? 0, Uint8Array.from(data ?? [])),
    });
  });
});

function header(length: number, type: number): number[] {
  return [...Array<number>(16).fill(0xff), length >> 8, length & 0xff, type];
}

describe('OPEN', () => {
  const open: fc.Arbitrary<BgpOpen> = fc.record({
    as: asn,
    holdTimeSeconds: fc.oneof(fc.constant(0), fc.integer({ min: 3, max: 65_535 })),
    routerId: dotted,
    capabilities: fc.record(
      {
        families: fc.uniqueArray(family, { minLength: 1 }),
        routeRefresh: fc.boolean(),
        gracefulRestart: fc.record({
          restarting: fc.boolean(),
          restartTimeSeconds: fc.integer({ min: 0, max: 4095 }),
          families: fc.array(fc.record({ family, forwardingPreserved: fc.boolean() }), { maxLength: 2 }),
        }),
      },
      { requiredKeys: ['families', 'routeRefresh'] },
    ),
  });

  test('what is encoded is decoded', () => {
    fc.assert(
      fc.property(open, (from) => {
        const whole = { ...from, capabilities: { ...from.capabilities, fourOctetAs: from.as } };
        expect(good(decodeOpen(body(encodeOpen(whole))))).toEqual(whole);
      }),
    );
  });

  const plain = encodeOpen({
    as: 64_513,
    holdTimeSeconds: 90,
    routerId: '10.0.0.1',
    capabilities: { families: ['ipv4'], routeRefresh: false },
  });
  const changed = (change: (body: Buffer) => Buffer | void): BgpDecoded<BgpOpen> => {
    const copy = Buffer.from(body(plain));
    return decodeOpen(change(copy) ?? copy);
  };

  test('a peer without capabilities speaks IPv4 and two octets', () => {
    expect(good(changed((copy) => Buffer.concat([copy.subarray(0, 9), Buffer.from([0])])))).toEqual({
      as: 64_513,
      holdTimeSeconds: 90,
      routerId: '10.0.0.1',
      capabilities: { families: ['ipv4'], routeRefresh: false },
    });
  });

  test('the extended parameters of RFC 9072 say the same', () => {
    const inner = body(plain).subarray(12);
    const extended = Buffer.concat([
      body(plain).subarray(0, 9),
      Buffer.from([255, 255, 0, inner.length + 3, 2, 0, inner.length]),
      inner,
    ]);
    expect(good(decodeOpen(extended))).toEqual(good(decodeOpen(body(plain))));
  });

  test.each<{ name: string; change: (copy: Buffer) => Buffer | void; reason: string; code: number[]; data?: number[] }>(
    [
      { name: 'version 3', change: (copy) => void (copy[0] = 3), reason: 'open-version', code: [2, 1], data: [0, 4] },
      { name: 'AS 0', change: (copy) => void copy.writeUInt16BE(0, 1), reason: 'open-peer-as', code: [2, 2] },
      { name: 'router ID 0', change: (copy) => void copy.writeUInt32BE(0, 5), reason: 'open-router-id', code: [2, 3] },
      { name: 'hold time 1', change: (copy) => void copy.writeUInt16BE(1, 3), reason: 'open-hold-time', code: [2, 6] },
      { name: 'hold time 2', change: (copy) => void copy.writeUInt16BE(2, 3), reason: 'open-hold-time', code: [2, 6] },
      {
        name: 'parameter 1',
        change: (copy) => void (copy[10] = 1),
        reason: 'open-parameter-unsupported',
        code: [2, 4],
      },
      {
        name: 'parameters too short',
        change: (copy) => void (copy[9] = 3),
        reason: 'open-parameters-malformed',
        code: [2, 0],
      },
      {
        name: 'a parameter too long',
        change: (copy) => void (copy[11] = 200),
        reason: 'open-parameters-malformed',
        code: [2, 0],
      },
      {
        name: 'a capability too long',
        change: (copy) => void (copy[13] = 5),
        reason: 'open-capability-malformed',
        code: [2, 0],
      },
      {
        name: 'a capability of a wrong length',
        change: (copy) => void (copy[12] = 65 - 63),
        reason: 'open-capability-malformed',
        code: [2, 0],
      },
      {
        name: 'something behind the parameters',
        change: (copy) => Buffer.concat([copy, Buffer.from([0])]),
        reason: 'open-parameters-malformed',
        code: [2, 0],
      },
    ],
  )('$name', ({ change, reason, code, data }) => {
    expect(changed(change)).toEqual({
      ok: false,
      reason,
      notification: notification(code[0] ?? 0, code[1] ?? 0, Uint8Array.from(data ?? [])),
    });
  });
});

describe('UPDATE', () => {
  const attributes: fc.Arbitrary<Omit<PathAttributes, 'nextHop'>> = fc.record(
    {
      origin: fc.constantFrom('igp' as const, 'egp' as const, 'incomplete' as const),
      asPath: fc.array(
        fc.record({
          type: fc.constantFrom('set' as const, 'sequence' as const),
          asns: fc.array(asn, { minLength: 1, maxLength: 255 }),
        }),
        { maxLength: 2 },
      ),
      med: uint32,
      localPreference: uint32,
      communities: fc.array(uint32, { minLength: 1, maxLength: 64 }),
      largeCommunities: fc.array(fc.tuple(uint32, uint32, uint32), { minLength: 1, maxLength: 64 }),
    },
    { requiredKeys: ['origin', 'asPath', 'localPreference'] },
  );

  test('what is announced and withdrawn is read, in messages of at most 4096 bytes and as few as can be', () => {
    fc.assert(
      fc.property(
        family.chain((of) => fc.tuple(fc.constant(of), prefixes(of))),
        attributes,
        ([of, networks], from) => {
          const nextHop = of === 'ipv4' ? '10.0.0.1' : 'fd00::1';
          const sent = encodeAnnouncements(networks, of, from, nextHop, { fourOctetAs: true });
          const updates = sent.map((message) => good(decodeUpdate(body(message), internal)));
          expect(updates.flatMap(({ announced }) => announced.map(prefixText))).toEqual(networks.map(prefixText));
          for (const update of updates) {
            expect(update.errors).toEqual([]);
            expect(update.attributes).toEqual({ ...from, ...(of === 'ipv4' ? { nextHop } : {}) });
            expect(update.mpNextHop).toBe(of === 'ipv6' ? nextHop : undefined);
          }
          // Each is full: not even one of the longest prefixes would have had room.
          for (const message of sent.slice(0, -1)) expect(message.length).toBeGreaterThan(4096 - 18);
          for (const message of sent) expect(message.length).toBeLessThanOrEqual(4096);

          const gone = encodeWithdrawals(networks, of).map((message) => good(decodeUpdate(body(message), external)));
          expect(gone.flatMap(({ withdrawn }) => withdrawn.map(prefixText))).toEqual(networks.map(prefixText));
          expect(gone.every(({ errors, endOfRib }) => errors.length === 0 && endOfRib === undefined)).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('AS numbers of four octets cross a peer of two', () => {
    const from = { origin: 'igp' as const, asPath: [{ type: 'sequence' as const, asns: [4_200_000_001, 64_512] }] };
    const [message] = encodeAnnouncements([parsePrefix('10.0.0.0/8')], 'ipv4', from, '10.0.0.1', {
      fourOctetAs: false,
    });
    const update = good(decodeUpdate(body(message ?? Buffer.alloc(0)), { fourOctetAs: false, internal: false }));
    expect(update.attributes.asPath).toEqual([{ type: 'sequence', asns: [23_456, 64_512] }]);
    expect(update.errors).toEqual([]);
    expect(message?.includes(Buffer.from([0xc0, 17, 10, 2, 2]))).toBe(true);
  });

  test('End-of-RIB of both families', () => {
    expect(good(decodeUpdate(body(encodeEndOfRib('ipv4')), external)).endOfRib).toBe('ipv4');
    expect(good(decodeUpdate(body(encodeEndOfRib('ipv6')), external)).endOfRib).toBe('ipv6');
    const [some] = encodeWithdrawals([parsePrefix('::/0')], 'ipv6');
    expect(good(decodeUpdate(body(some ?? Buffer.alloc(0)), external)).endOfRib).toBeUndefined();
  });

  /** An UPDATE of raw parts. */
  function update(
    field: readonly number[],
    nlri: readonly number[] = [8, 10],
    withdrawn: readonly number[] = [],
  ): Buffer {
    return Buffer.from([0, withdrawn.length, ...withdrawn, field.length >> 8, field.length & 0xff, ...field, ...nlri]);
  }
  const origin = [0x40, 1, 1, 0];
  const asPath = [0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1];
  const nextHop = [0x40, 3, 4, 10, 0, 0, 1];
  const wellFormed = [...origin, ...asPath, ...nextHop];

  test.each<{ name: string; bytes: Buffer; reason: string; code: number[] }>([
    {
      name: 'a withdrawn length beyond the end',
      bytes: Buffer.from([0, 9, 0, 0]),
      reason: 'update-lengths',
      code: [3, 1],
    },
    {
      name: 'an attribute length beyond the end',
      bytes: Buffer.from([0, 0, 0, 9]),
      reason: 'update-lengths',
      code: [3, 1],
    },
    {
      name: 'a prefix of 33 bits',
      bytes: update(wellFormed, [33, 1, 2, 3, 4, 5]),
      reason: 'update-prefix',
      code: [3, 10],
    },
    { name: 'a prefix cut short', bytes: update(wellFormed, [24, 10]), reason: 'update-prefix', code: [3, 10] },
    {
      name: 'a withdrawn prefix of 33 bits',
      bytes: update([], [], [33, 1, 2, 3, 4, 5]),
      reason: 'update-prefix',
      code: [3, 10],
    },
    {
      name: 'MP_REACH twice',
      bytes: update([0x80, 14, 5, 0, 1, 4, 0, 0, 0x80, 14, 5, 0, 1, 4, 0, 0], []),
      reason: 'update-attribute-repeated',
      code: [3, 1],
    },
    {
      name: 'a well-known attribute that is unknown',
      bytes: update([...wellFormed, 0x40, 99, 1, 7]),
      reason: 'update-attribute-unknown',
      code: [3, 2],
    },
    { name: 'MP_REACH cut short', bytes: update([0x80, 14, 3, 0, 2, 1], []), reason: 'update-mp-reach', code: [3, 9] },
    {
      name: 'MP_REACH with a next hop of 5',
      bytes: update([0x80, 14, 10, 0, 2, 1, 5, 1, 2, 3, 4, 5, 0], []),
      reason: 'update-mp-reach',
      code: [3, 9],
    },
    { name: 'MP_UNREACH cut short', bytes: update([0x80, 15, 2, 0, 2], []), reason: 'update-mp-unreach', code: [3, 9] },
    {
      name: 'MP_UNREACH with a prefix of 129',
      bytes: update([0x80, 15, 4, 0, 2, 1, 129], []),
      reason: 'update-mp-unreach',
      code: [3, 9],
    },
  ])('ends the session: $name', ({ bytes, reason, code }) => {
    const decoded = decodeUpdate(bytes, external);
    expect(decoded).toMatchObject({ ok: false, reason });
    if (!decoded.ok) expect([decoded.notification.code, decoded.notification.subcode]).toEqual(code);
  });

  const attribute = (flags: number, type: number, ...value: number[]): number[] => [
    flags,
    type,
    value.length,
    ...value,
  ];
  test.each<{ name: string; field: number[]; fault: string; context?: typeof external }>([
    { name: 'ORIGIN 3', field: [...attribute(0x40, 1, 3), ...asPath, ...nextHop], fault: 'origin' },
    { name: 'ORIGIN of two octets', field: [...attribute(0x40, 1, 0, 0), ...asPath, ...nextHop], fault: 'origin' },
    {
      name: 'ORIGIN flagged optional',
      field: [...attribute(0xc0, 1, 0), ...asPath, ...nextHop],
      fault: 'attribute-flags',
    },
    {
      name: 'AS_PATH that overruns',
      field: [...origin, ...attribute(0x40, 2, 2, 9, 0, 0), ...nextHop],
      fault: 'as-path',
    },
    {
      name: 'AS_PATH with an empty segment',
      field: [...origin, ...attribute(0x40, 2, 2, 0), ...nextHop],
      fault: 'as-path',
    },
    {
      name: 'AS_PATH with a confederation',
      field: [...origin, ...attribute(0x40, 2, 3, 1, 0, 0, 0, 1), ...nextHop],
      fault: 'as-path',
    },
    {
      name: 'NEXT_HOP of three octets',
      field: [...origin, ...asPath, ...attribute(0x40, 3, 1, 2, 3)],
      fault: 'next-hop',
    },
    {
      name: 'NEXT_HOP 127.0.0.1',
      field: [...origin, ...asPath, ...attribute(0x40, 3, 127, 0, 0, 1)],
      fault: 'next-hop',
    },
    { name: 'no NEXT_HOP', field: [...origin, ...asPath], fault: 'attribute-missing' },
    { name: 'no attribute at all', field: [], fault: 'attribute-missing' },
    { name: 'no LOCAL_PREF from the own AS', field: wellFormed, fault: 'attribute-missing', context: internal },
    { name: 'MED of three octets', field: [...wellFormed, ...attribute(0x80, 4, 1, 2, 3)], fault: 'med' },
    {
      name: 'LOCAL_PREF of three octets',
      field: [...wellFormed, ...attribute(0x40, 5, 1, 2, 3)],
      fault: 'local-preference',
      context: internal,
    },
    {
      name: 'COMMUNITIES of five octets',
      field: [...wellFormed, ...attribute(0xc0, 8, 1, 2, 3, 4, 5)],
      fault: 'communities',
    },
    { name: 'COMMUNITIES of none', field: [...wellFormed, ...attribute(0xc0, 8)], fault: 'communities' },
    {
      name: 'LARGE_COMMUNITIES of four octets',
      field: [...wellFormed, ...attribute(0xc0, 32, 1, 2, 3, 4)],
      fault: 'large-communities',
    },
    {
      name: 'EXTENDED_COMMUNITIES of four octets',
      field: [...wellFormed, ...attribute(0xc0, 16, 1, 2, 3, 4)],
      fault: 'extended-communities',
    },
    {
      name: 'CLUSTER_LIST of none, own AS',
      field: [...wellFormed, ...attribute(0x40, 5, 0, 0, 0, 1), ...attribute(0x80, 10)],
      fault: 'cluster-list',
      context: internal,
    },
    {
      name: 'ORIGINATOR_ID of one octet, own AS',
      field: [...wellFormed, ...attribute(0x40, 5, 0, 0, 0, 1), ...attribute(0x80, 9, 1)],
      fault: 'originator-id',
      context: internal,
    },
    {
      name: 'an attribute longer than the field',
      field: [...wellFormed, 0xc0, 8, 200],
      fault: 'attribute-list-overrun',
    },
    { name: 'an attribute cut in its head', field: [...wellFormed, 0xd0, 8, 0], fault: 'attribute-list-overrun' },
  ])('costs the routes (RFC 7606): $name', ({ field, fault, context = external }) => {
    const result: BgpUpdate = good(decodeUpdate(update(field, [8, 10], [8, 11]), context));
    expect(result.announced).toEqual([]);
    expect(result.withdrawn.map(prefixText)).toEqual(['11.0.0.0/8', '10.0.0.0/8']);
    expect(result.errors).toContainEqual({ fault, action: 'treat-as-withdraw' });
    expect(result.endOfRib).toBeUndefined();
  });

  test.each<{ name: string; more: number[]; fault?: string; context?: typeof external }>([
    { name: 'ATOMIC_AGGREGATE with a value', more: attribute(0x40, 6, 1), fault: 'atomic-aggregate' },
    { name: 'AGGREGATOR of six octets', more: attribute(0xc0, 7, 1, 2, 3, 4, 5, 6), fault: 'aggregator' },
    { name: 'AS4_AGGREGATOR of six octets', more: attribute(0xc0, 18, 1, 2, 3, 4, 5, 6), fault: 'as4-aggregator' },
    { name: 'ORIGIN a second time', more: attribute(0x40, 1, 9), fault: 'attribute-repeated' },
    { name: 'LOCAL_PREF from another AS, however malformed', more: attribute(0x40, 5, 1) },
    { name: 'ORIGINATOR_ID from another AS', more: attribute(0x80, 9, 1) },
    { name: 'an unknown optional attribute', more: attribute(0xc0, 200, 1, 2) },
    { name: 'an MP_REACH of a family not asked for', more: attribute(0x80, 14, 0, 25, 65, 1, 9, 0, 7) },
  ])('costs nothing but itself: $name', ({ more, fault, context = external }) => {
    const result = good(decodeUpdate(update([...wellFormed, ...more]), context));
    expect(result.announced.map(prefixText)).toEqual(['10.0.0.0/8']);
    expect(result.attributes.origin).toBe('igp');
    expect(result.errors).toEqual(fault === undefined ? [] : [{ fault, action: 'attribute-discard' }]);
  });

  test('a malformed AS4_PATH between speakers of two octets is dropped alone', () => {
    const field = [...origin, ...attribute(0x40, 2, 2, 1, 0xfc, 1), ...nextHop, ...attribute(0xc0, 17, 9, 9)];
    const result = good(decodeUpdate(update(field), { fourOctetAs: false, internal: false }));
    expect(result.errors).toEqual([{ fault: 'as4-path', action: 'attribute-discard' }]);
    expect(result.announced).toHaveLength(1);
  });
});

describe('NOTIFICATION', () => {
  test('every code and subcode has words, and any can be read', () => {
    expect(describeNotification(notification(2, 2))).toBe('OPEN error: bad peer AS (2/2)');
    expect(describeNotification(notification(4, 0))).toBe('hold timer expired (4/0)');
    expect(describeNotification(notification(6, 99))).toBe('cease (6/99)');
    expect(describeNotification(notification(77, 1))).toBe('error 77 (77/1)');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const decoded = decodeNotification(bytes);
        expect(describeNotification(decoded)).not.toMatch(/[\p{Cc}]/u);
        if (bytes.length >= 2) expect(encodeNotificationBody(decoded)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  test('the shutdown communication (RFC 9003): whole characters, at most 255 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        const sent = cease(2, text);
        expect(sent.data.length).toBeLessThanOrEqual(256);
        const read = shutdownCommunication(sent);
        if (text === '') expect(read).toBeUndefined();
        else if (Buffer.byteLength(text) <= 255 && !/[\p{Cc}\p{Cf}\u2028\u2029\uD800-\uDFFF]/u.test(text))
          expect(read).toBe(text);
      }),
    );
    expect(shutdownCommunication(notification(6, 2, Uint8Array.of(9, 65)))).toBeUndefined();
    expect(shutdownCommunication(notification(6, 7, Uint8Array.of(1, 65)))).toBeUndefined();
    expect(shutdownCommunication(notification(6, 2, Uint8Array.of(3, 65, 10, 66)))).toBe('A\uFFFDB');
  });
});

describe('messages of BIRD, FRR and GoBGP', () => {
  test('all are read, and those with routes make sense', () => {
    const seen = new Map<string, number>();
    for (const { from, type, hex } of capturedMessages) {
      const [frame] = frames(Buffer.from(hex, 'hex'));
      if (frame === undefined) throw new Error('no message');
      const message = good(decodeMessage(frame, external));
      expect(message.type.toUpperCase(), hex).toBe(type);
      seen.set(`${from} ${type}`, (seen.get(`${from} ${type}`) ?? 0) + 1);
      if (message.type === 'update') {
        expect(message.update.errors, hex).toEqual([]);
        const { announced, withdrawn, endOfRib } = message.update;
        expect(announced.length + withdrawn.length > 0 || endOfRib !== undefined, hex).toBe(true);
      }
      if (message.type === 'open') expect([64_512, 64_513, 4_200_000_001]).toContain(message.open.as);
    }
    for (const peer of ['bird', 'frr', 'gobgp']) {
      for (const type of ['OPEN', 'UPDATE', 'NOTIFICATION'])
        expect(seen.get(`${peer} ${type}`), `${peer} ${type}`).toBeGreaterThan(0);
    }
  });

  test('what was said at shutdown', () => {
    const texts = capturedMessages
      .filter(({ type }) => type === 'NOTIFICATION')
      .map(({ hex }) => shutdownCommunication(decodeNotification(body(Buffer.from(hex, 'hex')))));
    expect(texts).toEqual(expect.arrayContaining(['card swap', 'rack 4 moves', 'moving']));
  });
});

describe('any bytes', () => {
  test('are decoded or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3, 5), fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
        for (const context of [external, internal, { fourOctetAs: false, internal: false }]) {
          const decoded = decodeMessage({ type, body: Buffer.from(bytes) }, context);
          if (!decoded.ok) expect(decoded.notification.code).toBeGreaterThan(0);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('mutated messages of real peers, for two seconds', () => {
    const corpus = bgpCorpus();
    let seed = 20_261_121;
    const next = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const outcomes = new Map<string, number>();
    const endMs = performance.now() + 2000;
    let count = 0;
    while (performance.now() < endMs) {
      for (let turn = 0; turn < 500; turn += 1) {
        const bytes = Buffer.from(corpus[next(corpus.length)] ?? []);
        for (let change = next(4); change >= 0; change -= 1)
          bytes[16 + next(bytes.length - 16)] = next(4) === 0 ? 255 : next(256);
        const outcome = decodeBgpBytes(next(8) === 0 ? bytes.subarray(0, next(bytes.length)) : bytes);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(5000);
    // The mutations reach every kind of refusal that a single message can meet.
    expect([...outcomes.keys()]).toEqual(
      expect.arrayContaining([
        'open',
        'update',
        'notification',
        'incomplete',
        'message-length',
        'message-type',
        'open-version',
        'open-capability-malformed',
        'update-lengths',
        'update-prefix',
        'update-mp-reach',
        'update-attribute-unknown',
      ]),
    );
  });

  test('our own keepalive and refresh', () => {
    expect(decodeBgpBytes(encodeKeepalive())).toBe('keepalive');
    expect(decodeBgpBytes(encodeRouteRefresh('ipv6'))).toBe('route-refresh');
    expect(() => encodeMessage(2, Buffer.alloc(5000))).toThrow(RangeError);
  });
});
