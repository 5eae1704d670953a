import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { describeRequiring } from '../support/requirements.js';
import { leftBy, misses, resultOf, startDemo } from './demo-run.js';

const shell = promisify(execFile);
const needs = {
  netns: true,
  native: true,
  commands: ['nft', 'iptables', 'conntrack', 'tcpdump', 'curl', 'sysctl', 'perl', 'setpriv', 'nsenter'],
} as const;
const nobody = 65_534;

describeRequiring(needs, 'the demo', () => {
  test('passes every check in network namespaces, and leaves nothing', { timeout: 300_000 }, async () => {
    const demo = startDemo(['--json']);
    const ended = await demo.ended;
    const { status } = ended;
    const result = resultOf(ended);
    expect(misses(result)).toEqual([]);
    expect(result).toMatchObject({ ok: true, mode: 'netns' });
    expect(result.checks.length).toBeGreaterThanOrEqual(70);
    expect(status).toBe(0);
    expect(leftBy(demo.child.pid ?? 0)).toEqual([]);
  });

  test('runs in a user namespace for a user without root', { timeout: 180_000 }, async () => {
    const demo = startDemo(['--json', '--only', 'joining,traffic,wire'], { uid: nobody });
    const ended = await demo.ended;
    const { status, stderr } = ended;
    const result = resultOf(ended);
    expect(misses(result)).toEqual([]);
    // A kernel may forbid it; then the demo says why, and runs on loopback. Where nothing may be skipped, that is a failure.
    const mayFallBack = process.env['MESHWRIGHT_REQUIRE_ALL'] !== '1';
    if (mayFallBack && result.mode === 'loopback') expect(stderr).toMatch(/a user namespace: \S+/);
    else expect(result.mode).toBe('userns');
    expect(status).toBe(0);
    expect(leftBy(demo.child.pid ?? 0)).toEqual([]);
  });

  test('--keep prints commands that work, and one that tears everything down', { timeout: 180_000 }, async () => {
    const demo = startDemo(['--keep', '--only', 'joining']);
    const pid = Number((await demo.wrote(/^ {2}kill (\d+)$/m))[1]);
    const commands = demo
      .text()
      .slice(demo.text().indexOf('The mesh is up.'))
      .split('\n')
      .filter((line) => line.startsWith('  '))
      .map((line) => line.trim());
    const answers: string[] = [];
    for (const command of commands.slice(0, -1)) {
      const { stdout } = await shell('sh', ['-c', command]);
      answers.push(stdout);
    }
    const all = answers.join('\n');
    expect(all).toMatch(/HTTP\/1\.1 200[^]*HTTP\/1\.1 403[^]*HTTP\/1\.1 200/);
    expect(all).toContain('spiffe://cluster.local/agent/node-a');
    expect(all).toContain('novaedge_mesh_requests_total');
    expect(all).toContain('table inet meshwright');
    expect(leftBy(pid).length).toBeGreaterThan(15);
    process.kill(pid, 'SIGTERM');
    expect((await demo.ended).status).toBe(143);
    expect(leftBy(pid)).toEqual([]);
  });

  test('Ctrl-C in the middle of a run tears everything down', { timeout: 180_000 }, async () => {
    const demo = startDemo(['--only', 'traffic']);
    await demo.wrote(/ok {3}frontend -> backend-api/);
    demo.child.kill('SIGINT');
    const { status, stdout } = await demo.ended;
    expect(status).toBe(130);
    expect(stdout).toContain('SIGINT: tearing everything down');
    expect(leftBy(demo.child.pid ?? 0)).toEqual([]);
  });
});
