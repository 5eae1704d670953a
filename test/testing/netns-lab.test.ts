import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NetnsLab, userNamespaceCommand } from '../../src/testing/netns-lab.js';
import { expect, test } from 'vitest';
import { describeRequiring } from '../support/requirements.js';

const child = fileURLToPath(new URL('./netns-lab-child.ts', import.meta.url));

async function lineOf(process: ReturnType<typeof spawn>): Promise<string> {
  const [chunk] = (await once(process.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  return chunk.toString().trim();
}

describeRequiring({ netns: true }, 'NetnsLab', () => {
  test('joins namespaces by veth, IPv4 and IPv6, and leaves nothing', async () => {
    const lab = await NetnsLab.create();
    const node = await lab.namespace('node', { forwarding: true });
    const pod = await lab.namespace('pod');
    await node.bridge('br0', { addresses: ['10.1.0.1/24', 'fd01::1/64'] });
    await lab.link(
      { namespace: node, device: 'veth1', bridge: 'br0' },
      { namespace: pod, device: 'eth0', addresses: ['10.1.0.5/24', 'fd01::5/64'] },
    );
    await pod.route('default', { via: '10.1.0.1' });
    await pod.route('default', { via: 'fd01::1' });
    expect(await pod.ip('route')).toContain('default via 10.1.0.1');
    expect(
      (await pod.exec('ip', ['neigh', 'get', '10.1.0.1', 'dev', 'eth0'], { allowFailure: true })).status,
    ).toBeDefined();
    expect((await node.exec('cat', ['/proc/sys/net/ipv4/ip_forward'])).stdout.trim()).toBe('1');
    const sleeper = pod.spawn('sleep', ['1000'], { stdio: 'ignore' });
    const ended = once(sleeper, 'exit');
    await lab.close();
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(existsSync(node.path)).toBe(false);
    expect(existsSync(pod.path)).toBe(false);
    await lab.close();
  });

  test('reports a failing command with its output', async () => {
    await using lab = await NetnsLab.create();
    const node = await lab.namespace('node');
    await expect(node.exec('ip', ['link', 'show', 'nothing'])).rejects.toMatchObject({
      code: 'TESTING_COMMAND_FAILED',
    });
    expect((await node.exec('false', [], { allowFailure: true })).status).toBe(1);
    await expect(lab.namespace('../etc')).rejects.toMatchObject({ code: 'TESTING_ARGUMENT_INVALID' });
  });

  test('a signal removes everything; what SIGKILL leaves is swept by the next lab', async () => {
    const interrupted = spawn(process.execPath, ['--conditions=meshwright-source', '--import', 'tsx', child], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const killed = spawn(process.execPath, ['--conditions=meshwright-source', '--import', 'tsx', child], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [interruptedPath, killedPath] = await Promise.all([lineOf(interrupted), lineOf(killed)]);
    expect(existsSync(interruptedPath)).toBe(true);
    const ended = Promise.all([once(interrupted, 'exit'), once(killed, 'exit')]);
    interrupted.kill('SIGINT');
    killed.kill('SIGKILL');
    await ended;
    expect(existsSync(interruptedPath)).toBe(false);
    expect(existsSync(killedPath)).toBe(true);
    await using lab = await NetnsLab.create();
    expect(existsSync(killedPath)).toBe(false);
    expect(lab.namespaces).toEqual([]);
  });

  test('works in a user namespace with a private /run', async () => {
    const before = readdirSync('/run/netns').filter((name) => name.startsWith('mwlab-'));
    const { command, args } = userNamespaceCommand(process.execPath, [
      '--conditions=meshwright-source',
      '--import',
      'tsx',
      child,
      'once',
    ]);
    const nested = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(nested, 'exit');
    const path = await lineOf(nested);
    const [status] = (await ended) as [number];
    expect(status).toBe(0);
    expect(path).toMatch(/^\/run\/netns\/mwlab-/);
    expect(readdirSync('/run/netns').filter((name) => name.startsWith('mwlab-'))).toEqual(before);
  });
});
