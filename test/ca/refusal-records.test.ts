import { expect, it } from 'vitest';
import { FakeClock } from 'meshwright/testing';
import type { AuditEntry } from 'meshwright/ca';
import { RefusalRecords } from '../../src/ca/refusal-records.js';
import { recordingLogger } from './support.js';

const refusal = (who: string): AuditEntry => ({
  event: 'refused',
  operation: 'join',
  who,
  code: 'CA_JOIN_TOKEN_UNKNOWN',
  why: 'unknown',
});

it('are one by one at first, then counted once a minute, each caller apart', async () => {
  const clock = new FakeClock();
  const records: AuditEntry[] = [];
  const { logger, lines } = recordingLogger();
  const record = (entry: AuditEntry): Promise<void> => Promise.resolve(void records.push(entry));
  const refusals = new RefusalRecords({ record, clock, logger });
  for (let count = 0; count < 1000; count += 1) await refusals.add(refusal('unauthenticated'));
  await refusals.add(refusal('node node-a'));
  expect(records.filter(({ who }) => who === 'unauthenticated')).toHaveLength(50);
  expect(records.at(-1)?.who).toBe('node node-a');
  await clock.advanceAsync(60_000);
  expect(records).toHaveLength(52);
  expect(records.at(-1)).toEqual({
    ...refusal('unauthenticated'),
    why: '950 further refusals within a minute, the first: unknown',
  });
  expect(clock.pendingTimers).toBe(0);
  await refusals.add(refusal('unauthenticated'));
  expect(records.at(-1)?.why).toBe('unknown');
  expect(lines).toEqual([]);
});

it('are refusals all the same when they cannot be recorded', async () => {
  const { logger, lines } = recordingLogger();
  const record = (): Promise<void> => Promise.reject(new Error('disk full'));
  await new RefusalRecords({ record, clock: new FakeClock(), logger }).add(refusal('unauthenticated'));
  expect(lines).toMatchObject([{ level: 'error', message: 'audit record lost' }]);
});
