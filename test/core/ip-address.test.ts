import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Cidr,
  formatSocketAddress,
  ipBytes,
  ipFamily,
  isMeshwrightError,
  parseIp,
  parseSocketAddress,
  socketAddress,
  tryParseIp,
} from '../../src/core/index.js';

const malformed = (run: () => unknown): void => {
  let error: unknown;
  try {
    run();
  } catch (caught) {
    error = caught;
  }
  expect(isMeshwrightError(error, 'CORE_ADDRESS_MALFORMED')).toBe(true);
};

const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 });
const bytes6 = groups.map((each) => Uint8Array.from(each.flatMap((group) => [group >> 8, group & 0xff])));
const text6 = (bytes: Uint8Array): string =>
  Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  ).join(':');
const mapped = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
const anyIp = fc.oneof(
  bytes4.map((bytes) => bytes.join('.')),
  bytes6.map(text6),
  fc.ipV4(),
  fc.ipV6(),
);

describe('parseIp', () => {
  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['FD00::ABCD', 'fd00::abcd'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::ffff:a00:1', '10.0.0.1'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ])('%s is %s', (text, canonical) => {
    expect(parseIp(text)).toBe(canonical);
  });

  test.each([
    '',
    ' ',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.1 ',
    '1.2.3.4.5',
    'fe80::1%eth0',
    ':::',
    '1::2::3',
    '[::1]',
    'localhost',
    '10.0.0.1/8',
    'g::',
  ])('%j is refused', (text) => {
    malformed(() => parseIp(text));
    expect(tryParseIp(text)).toBeUndefined();
  });

  test('property: one host has one name, whatever way it is written', () => {
    fc.assert(
      fc.property(bytes6, (bytes) => {
        const canonical = parseIp(text6(bytes));
        expect(parseIp(canonical)).toBe(canonical);
        expect(parseIp(text6(bytes).toUpperCase())).toBe(canonical);
        expect(ipBytes(canonical)).toEqual(mapped(bytes) ? bytes.subarray(12) : bytes);
        expect(ipFamily(canonical) === 6 ? isIPv6(canonical) : isIPv4(canonical)).toBe(true);
        // RFC 5952: lower case, no leading zeros, at most one ::, which is never of a single group.
        expect(canonical).toBe(canonical.toLowerCase());
        expect(canonical).not.toMatch(/(^|:)0[0-9a-f]/);
      }),
      { numRuns: 1000 },
    );
  });

  test('property: the canonical form is that of the URL standard', () => {
    fc.assert(
      fc.property(bytes6, (bytes) => {
        fc.pre(!mapped(bytes));
        expect(`[${parseIp(text6(bytes))}]`).toBe(new URL(`http://[${text6(bytes)}]/`).hostname);
      }),
    );
  });

  test('property: any text is an address for Node or none for us', () => {
    const noise = fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]/ '), maxLength: 24 });
    fc.assert(
      fc.property(noise, (text) => {
        const valid = isIPv4(text) || (isIPv6(text) && !text.includes('%'));
        expect(tryParseIp(text) !== undefined).toBe(valid);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('Cidr', () => {
  test('contains what shares its prefix, of its own family', () => {
    const block = Cidr.parse('10.96.0.0/12');
    expect(['10.96.0.0', '10.111.255.255', '::ffff:10.100.0.1'].every((ip) => block.contains(ip))).toBe(true);
    expect(['10.95.255.255', '10.112.0.0', '::1', 'fd00::'].some((ip) => block.contains(ip))).toBe(false);
    expect(Cidr.parse('0.0.0.0/0').contains('255.255.255.255')).toBe(true);
    expect(Cidr.parse('0.0.0.0/0').contains('::1')).toBe(false);
    expect(Cidr.parse('::/0').contains('10.0.0.1')).toBe(false);
    expect(Cidr.parse('fd00::/8').contains('fdff::1')).toBe(true);
    expect(Cidr.parse('10.0.0.1').toString()).toBe('10.0.0.1/32');
    expect(Cidr.parse('fd00::1').toString()).toBe('fd00::1/128');
    malformed(() => block.contains('not an address'));
  });

  test.each([
    '',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.1/8',
    'fd00::/129',
    'fd00::1/64',
    '/8',
    '10.0.0.0/8 ',
    '10.0.0.0/1e1',
    '::ffff:10.0.0.0/104',
  ])('%j is refused', (text) => malformed(() => Cidr.parse(text)));

  test('property: agrees with a comparison of bits', () => {
    const bits = (ip: string): string => Array.from(ipBytes(ip), (byte) => byte.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(anyIp, anyIp, fc.nat(128), (base, other, length) => {
        const width = 8 * ipBytes(base).length;
        const prefix = Math.min(length, width);
        const masked = ipBytes(base).map(
          (byte, index) => byte & (0xff << Math.max(0, 8 - Math.max(0, prefix - 8 * index))),
        );
        const text = masked.length === 4 ? masked.join('.') : text6(masked);
        // A block within ::ffff:0:0/96 is written as IPv4.
        fc.pre(masked.length === 4 || !mapped(masked));
        const block = Cidr.parse(`${text}/${String(prefix)}`);
        const same =
          ipBytes(other).length === masked.length && bits(other).slice(0, prefix) === bits(text).slice(0, prefix);
        expect(block.contains(base)).toBe(true);
        expect(block.contains(other)).toBe(same);
        expect(Cidr.parse(block.toString()).toString()).toBe(block.toString());
      }),
      { numRuns: 1000 },
    );
  });
});

describe('SocketAddress', () => {
  test('is formatted and parsed', () => {
    expect(parseSocketAddress('10.0.0.1:80')).toEqual({ ip: '10.0.0.1', port: 80 });
    expect(parseSocketAddress('[FD00::0001]:65535')).toEqual({ ip: 'fd00::1', port: 65535 });
    expect(parseSocketAddress('[::ffff:10.0.0.1]:80')).toEqual({ ip: '10.0.0.1', port: 80 });
    expect(formatSocketAddress(socketAddress('fd00::1', 1))).toBe('[fd00::1]:1');
    expect(Object.isFrozen(socketAddress('::1', 1))).toBe(true);
  });

  test.each([
    '',
    ':80',
    '10.0.0.1',
    '10.0.0.1:',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '10.0.0.1:080',
    '10.0.0.1:99999',
    '10.0.0.1:80 ',
    'fd00::1:80',
    '[fd00::1]',
    '[10.0.0.1]:80',
    'localhost:80',
    '10.0.0.1:80:80',
    '[fe80::1%eth0]:80',
    'user@10.0.0.1:80',
    '10.0.0.1:+80',
  ])('%j is refused', (text) => malformed(() => parseSocketAddress(text)));

  test.each([0, -1, 65536, 1.5, Number.NaN])('port %s is refused', (port) =>
    malformed(() => socketAddress('::1', port)),
  );

  test('property: what is formatted parses to the same, and any text parses to what formats alike or is refused', () => {
    fc.assert(
      fc.property(anyIp, fc.integer({ min: 1, max: 65535 }), (ip, port) => {
        const address = socketAddress(ip, port);
        expect(parseSocketAddress(formatSocketAddress(address))).toEqual(address);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789af:.[]%@ '), maxLength: 24 }), (text) => {
        try {
          const address = parseSocketAddress(text);
          expect(parseSocketAddress(formatSocketAddress(address))).toEqual(address);
        } catch (error) {
          expect(isMeshwrightError(error, 'CORE_ADDRESS_MALFORMED')).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
