import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isMeshwrightError } from '../../src/core/index.js';
import { parseAuthority } from '../../src/tunnel/index.js';

describe('parseAuthority', () => {
  test.each([
    ['10.0.0.7:8080', 'ip', '10.0.0.7', 8080],
    ['[fd00::7]:8080', 'ip', 'fd00::7', 8080],
    ['[FD00:0:0::7]:1', 'ip', 'fd00::7', 1],
    ['[::ffff:10.0.0.7]:65535', 'ip', '10.0.0.7', 65535],
    ['Web.shop.svc.cluster.local:80', 'name', 'web.shop.svc.cluster.local', 80],
  ])('%s', (text, kind, host, port) => {
    expect(parseAuthority(text)).toMatchObject({ kind, host, port });
  });

  test.each([
    '',
    ':80',
    '10.0.0.7',
    '10.0.0.7:',
    '10.0.0.7:0',
    '10.0.0.7:080',
    '10.0.0.7:65536',
    '10.0.0.7:80 ',
    ' 10.0.0.7:80',
    '10.0.0.7:80:80',
    'fd00::7:80',
    '[10.0.0.7]:80',
    '[fe80::1%eth0]:80',
    '[fd00::7]',
    '[name]:80',
    'user@10.0.0.7:80',
    '10.0.0.7:80/path',
    'a..b:80',
    '.a:80',
    'a.:80',
    '-a:80',
    'a-:80',
    'a_b:80',
    '1.2.3:80',
    '010.0.0.1:80',
    '256.1.1.1:80',
    '0x7f.1:80',
    '0x7f000001:80',
    '2130706433:80',
    `${'a'.repeat(64)}:80`,
    `${'a.'.repeat(130)}a:80`,
    'a\0b:80',
    'é:80',
  ])('refuses %j', (text) => {
    expect(() => parseAuthority(text)).toThrowError(
      expect.objectContaining({ code: 'TUNNEL_AUTHORITY_MALFORMED' }) as Error,
    );
  });

  test('takes what it prints, and throws nothing else on anything', () => {
    const any = fc.oneof(
      fc.string(),
      fc.tuple(fc.ipV4(), fc.nat(70_000)).map(([ip, port]) => `${ip}:${String(port)}`),
      fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([ip, port]) => `[${ip}]:${String(port)}`),
      fc.tuple(fc.domain(), fc.nat(70_000)).map(([name, port]) => `${name}:${String(port)}`),
    );
    fc.assert(
      fc.property(any, (text) => {
        let target;
        try {
          target = parseAuthority(text);
        } catch (error) {
          expect(isMeshwrightError(error, 'TUNNEL_AUTHORITY_MALFORMED')).toBe(true);
          return;
        }
        expect(parseAuthority(target.authority)).toEqual(target);
        expect(target.port).toBeGreaterThan(0);
        expect(target.port).toBeLessThan(65_536);
      }),
      { numRuns: 2_000 },
    );
  });
});
