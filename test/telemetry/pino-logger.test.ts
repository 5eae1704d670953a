import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { pinoLogger } from '../../src/telemetry/index.js';
import type { PinoLoggerOptions } from '../../src/telemetry/index.js';
import { isSecretName } from '../../src/telemetry/redact.js';

function capture(options: PinoLoggerOptions = {}) {
  const lines: string[] = [];
  const logger = pinoLogger({
    clock: new FakeClock(),
    destination: { write: (line) => void lines.push(line) },
    ...options,
  });
  return { logger, lines, last: () => JSON.parse(lines.at(-1) ?? 'null') as Record<string, unknown> };
}

describe('pinoLogger', () => {
  it('writes one JSON line with level, time, fields and message', () => {
    const { logger, lines } = capture({ fields: { node: 'node-a' } });
    logger.info('mesh certificate issued', {
      spiffe_id: 'spiffe://cluster.local/agent/node-a',
      key_type: 'ECDSA P-256',
    });
    expect(lines).toEqual([
      '{"level":"info","time":"2030-01-01T00:00:00.000Z","node":"node-a","spiffe_id":"spiffe://cluster.local/agent/node-a","key_type":"ECDSA P-256","msg":"mesh certificate issued"}\n',
    ]);
  });

  it('knows levels and children', () => {
    const { logger, lines, last } = capture({ level: 'warn' });
    logger.debug('no');
    logger.info('no');
    logger.child({ side: 'inbound' }).child({ id: 7 }).warn('yes', { a: 1 });
    expect(lines).toHaveLength(1);
    expect(last()).toMatchObject({ level: 'warn', side: 'inbound', id: 7, a: 1, msg: 'yes' });
    logger.error('worse');
    expect(last()).toMatchObject({ level: 'error' });
    expect(() => pinoLogger({ level: 'trace' as never })).toThrow(
      expect.objectContaining({ code: 'TELEMETRY_OPTION_INVALID' }),
    );
  });

  it('does not let a field forge the line', () => {
    const { logger, lines, last } = capture();
    logger.warn('real', { msg: 'forged', level: 'info', time: 'never', note: 'a\n{"level":"info"}' });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.split('\n')).toHaveLength(2);
    expect(last()).toMatchObject({ level: 'warn', msg: 'real', msg_: 'forged', level_: 'info' });
  });

  it.each([
    'token',
    'joinToken',
    'workload_token',
    'x-meshwright-workload-token',
    'accessTokens',
    'secret',
    'clientSecret',
    'password',
    'passphrase',
    'authorization',
    'Cookie',
    'set-cookie',
    'jwt',
    'privateKey',
    'private_key_pem',
    'signingKey',
    'hostKey',
    'key',
    'keys',
    'apiKey',
    'chainPem',
    'credentials',
  ])('redacts a field called %s', (name) => {
    const { logger, lines } = capture();
    logger.info('x', { [name]: 'hunter2', nested: { [name]: { deep: 'hunter2' } }, list: [{ [name]: ['hunter2'] }] });
    expect(lines[0]).not.toContain('hunter2');
    expect(lines[0]).toContain('[redacted]');
    logger.child({ [name]: 'hunter2' }).info('x');
    expect(lines[1]).not.toContain('hunter2');
  });

  it.each([
    'key_type',
    'keyThumbprint',
    'token_id',
    'tokenExpiresAt',
    'jti',
    'monkey',
    'keyboard',
    'spiffe_id',
    'policy',
    'not_after',
    'tokenReason',
  ])('keeps a field called %s', (name) => {
    expect(isSecretName(name)).toBe(false);
  });

  it('finds tokens and private keys inside texts, errors and messages', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const jwt = `eyJhbGciOiJFUzI1NiJ9.${Buffer.from('{"sub":"spiffe://x"}').toString('base64url')}.c2lnbmF0dXJlLW9mLWl0`;
    const { logger, lines } = capture();
    logger.error(`failed with ${jwt}`, {
      error: new Error(`bad ${jwt}`, { cause: new Error(pem) }),
      note: `curl -H 'authz: Bearer abcdefghijklmnop'`,
      handle: privateKey,
      bytes: Buffer.from('hunter2'),
      text: pem,
    });
    expect(lines[0]).not.toContain(jwt.slice(-12));
    expect(lines[0]).not.toContain(pem.split('\n')[1]);
    expect(lines[0]).not.toContain('abcdefghijklmnop');
    expect(lines[0]).toContain('[7 bytes]');
  });

  it('survives anything, in one bounded line', () => {
    const cyclic: Record<string, unknown> = { a: 1n, f: () => 1, s: Symbol('s'), d: new Date(Number.NaN) };
    cyclic['self'] = cyclic;
    const { logger, lines, last } = capture();
    logger.info('x', { cyclic, huge: 'x'.repeat(1_000_000), map: new Map([['token', 'hunter2']]), set: new Set([1]) });
    expect(last()).toMatchObject({ cyclic: { a: '1', self: '[circular]' }, map: { token: '[redacted]' }, set: [1] });
    expect(lines[0]?.length).toBeLessThan(10_000);
    const hostile = {
      get field(): string {
        throw new Error('no');
      },
    };
    logger.info('x', { hostile, keyless: new Map([[{ toString: 0 }, 1]]), fine: 1 });
    expect(last()).toMatchObject({ hostile: '[unreadable]', keyless: '[unreadable]', fine: 1 });
    fc.assert(
      fc.property(
        fc.string(),
        fc.dictionary(fc.string(), fc.anything({ withBigInt: true, withDate: true, withMap: true })),
        (message, fields) => {
          const before = lines.length;
          logger.info(message, fields);
          expect(lines).toHaveLength(before + 1);
          expect((JSON.parse(lines.at(-1) ?? '') as { level: string }).level).toBe('info');
        },
      ),
    );
  });
});
