/** The demo without root: the whole of it, run as root of a user namespace of its own. */
import { spawn } from 'node:child_process';
import { userNamespaceCommand } from 'meshwright/testing';

/** True in the copy of the demo that runs inside. */
export const insideUserNamespace = process.env['MESHWRIGHT_DEMO_USERNS'] === '1';

/** What stands against it on this machine, by trying; undefined when nothing does. */
export function whyNoUserNamespace(): Promise<string | undefined> {
  if (process.platform !== 'linux') return Promise.resolve('needs Linux');
  return new Promise((resolve) => {
    const { command, args } = userNamespaceCommand('sh', [
      '-c',
      'ip netns add probe && ip netns exec probe nft list tables && ip netns exec probe iptables -t nat -S && ip netns delete probe',
    ]);
    const child = spawn(command, [...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.once('error', (error) => resolve(error.message));
    child.once('close', (status) =>
      resolve(status === 0 ? undefined : (text.trim().split('\n')[0] ?? '') || `unshare ended with ${String(status)}`),
    );
  });
}

/** Runs this program, with its arguments, inside; resolves to its exit status. */
export function runInUserNamespace(): Promise<number> {
  const { command, args } = userNamespaceCommand(process.execPath, process.argv.slice(1));
  const child = spawn(command, [...args], { stdio: 'inherit', env: { ...process.env, MESHWRIGHT_DEMO_USERNS: '1' } });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => resolve(status ?? 1));
  });
}
