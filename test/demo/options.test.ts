import { describe, expect, test } from 'vitest';
import { misses, resultOf, startDemo } from './demo-run.js';

describe('the demo without namespaces', () => {
  test('runs on loopback, says so, and ends by itself', async () => {
    const ended = await startDemo(['--loopback', '--json']).ended;
    const { status, stdout, stderr } = ended;
    const result = resultOf(ended);
    expect(misses(result)).toEqual([]);
    expect(result).toMatchObject({ ok: true, mode: 'loopback' });
    expect(result.checks.length).toBeGreaterThanOrEqual(20);
    for (const check of result.checks) {
      expect(Object.keys(check).sort()).toEqual(['actual', 'detail', 'expected', 'name', 'ok']);
      const { ok, ...texts } = check;
      expect(typeof ok).toBe('boolean');
      for (const text of Object.values(texts)) expect(typeof text).toBe('string');
    }
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toContain('on loopback, without interception (asked for by --loopback)');
    expect(status).toBe(0);
  });

  test('prints a table that fits 160 columns', async () => {
    const { status, stdout } = await startDemo(['--loopback']).ended;
    expect(status).toBe(0);
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(160);
    expect(stdout).toMatch(/(\d+) of \1 checks as expected, in \d+ s \(loopback\)\.\n$/);
  });

  test.each([
    [['--fast'], /--fast/],
    [['traffic'], /traffic/],
    [['--only', 'traffic,all'], /expected some of joining, .*, got "all"/],
    [['--loopback', '--only', 'traffic'], /--only: expected no --loopback/],
  ])('refuses %j with the usage, and no run', async (args, message) => {
    const { status, stdout, stderr } = await startDemo(args).ended;
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(message);
    expect(stderr).toContain('Usage: npm run demo');
  });

  test('shows its options', async () => {
    const { status, stdout } = await startDemo(['--help']).ended;
    expect(status).toBe(0);
    for (const option of ['--json', '--keep', '--only', '--loopback']) expect(stdout).toContain(option);
  });
});
