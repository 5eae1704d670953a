import { describe, expect, test } from 'vitest';
import {
  CoreError,
  closeAll,
  coreErrorCodes,
  describeError,
  isMeshwrightError,
  noObserver,
  notify,
  silentLogger,
  systemRandom,
} from '../../src/core/index.js';

describe('errors', () => {
  test('carry code, frozen fields, cause and the name of their class', () => {
    const cause = new Error('why');
    const error = new CoreError('CORE_CLOSED', 'expected it open', { cause, fields: { port: 1 } });
    expect([error.name, error.code, error.message, error.cause]).toEqual([
      'CoreError',
      'CORE_CLOSED',
      'expected it open',
      cause,
    ]);
    expect(error.fields).toEqual({ port: 1 });
    expect(Object.isFrozen(error.fields)).toBe(true);
    expect('cause' in new CoreError('CORE_CLOSED', 'x')).toBe(false);
  });

  test('are known by brand and code, and nothing else is', () => {
    const error = new CoreError('CORE_CLOSED', 'x');
    expect(isMeshwrightError(error)).toBe(true);
    expect(isMeshwrightError(error, 'CORE_CLOSED')).toBe(true);
    expect(isMeshwrightError(error, 'CORE_OPTION_INVALID')).toBe(false);
    const copy = Object.assign(new Error('x'), { code: 'CORE_CLOSED', [Symbol.for('meshwright.error')]: true });
    expect(isMeshwrightError(copy, 'CORE_CLOSED')).toBe(true);
    for (const other of [undefined, null, 'x', {}, new Error('x'), { code: 'CORE_CLOSED' }]) {
      expect(isMeshwrightError(other)).toBe(false);
    }
  });

  test('the brand is not enumerable, so it is not in logs', () => {
    const error = new CoreError('CORE_CLOSED', 'x');
    expect(Object.getOwnPropertySymbols({ ...error })).toEqual([]);
  });

  test('every code says when and what to do', () => {
    for (const info of Object.values(coreErrorCodes)) {
      expect(info.when).toMatch(/\.$/);
      expect(info.fix).toMatch(/\.$/);
    }
    expect(Object.isFrozen(coreErrorCodes)).toBe(true);
  });

  test('describeError follows causes, within bounds', () => {
    const cyclic = new Error('a');
    cyclic.cause = cyclic;
    expect(describeError(new Error('a', { cause: new Error('b', { cause: 'c' }) }))).toBe('a: b: c');
    expect(describeError(cyclic)).toBe(Array(8).fill('a').join(': '));
    expect(describeError('text')).toBe('text');
    expect(describeError(new TypeError())).toBe('TypeError');
    expect(describeError(undefined)).toBe('');
  });
});

describe('closeAll', () => {
  test('closes all, last first, and reports every failure', async () => {
    const closed: number[] = [];
    const closable = (number: number, fails = false) => ({
      close: async () => {
        closed.push(number);
        if (fails) throw new Error(String(number));
      },
    });
    await closeAll([]);
    await closeAll([closable(1), closable(2)]);
    await expect(closeAll([closable(3, true), closable(4), closable(5, true)])).rejects.toMatchObject({
      errors: [new Error('5'), new Error('3')],
    });
    expect(closed).toEqual([2, 1, 5, 4, 3]);
  });
});

describe('observer, logger, random', () => {
  test('an observer that throws is not felt', () => {
    const seen: string[] = [];
    notify((event) => void seen.push(event.type), { type: 'a' });
    notify(
      () => {
        throw new Error('observer');
      },
      { type: 'b' },
    );
    notify(noObserver, { type: 'c' });
    expect(seen).toEqual(['a']);
  });

  test('the silent logger says nothing, also as a child', () => {
    expect(silentLogger.child({ a: 1 })).toBe(silentLogger);
    expect(silentLogger.info('x')).toBeUndefined();
  });

  test('the system generator gives bytes as asked, and fractions in [0, 1)', () => {
    expect(systemRandom.bytes(16)).toHaveLength(16);
    expect(Buffer.compare(systemRandom.bytes(16), systemRandom.bytes(16))).not.toBe(0);
    for (let round = 0; round < 100; round += 1) {
      const fraction = systemRandom.fraction();
      expect(fraction >= 0 && fraction < 1).toBe(true);
    }
  });
});
