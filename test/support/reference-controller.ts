/** The reference controller as a process of its own, from its sources. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.js';

const repository = new URL('../../', import.meta.url).pathname;

export interface ControllerProcess {
  /** `ip:port` of the control plane. */
  readonly address: string;
  /** Of the admin socket. */
  readonly admin: string;
  /** Where the CA is. */
  readonly store: string;
  readonly log: () => string;
  /** Ends it with `signal` and waits until it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface ControllerProcessOptions {
  /** Of the test's own; everything is kept below. A second start goes on where the first ended. */
  readonly directory: string;
  /** Kubernetes-shaped, as JSON. */
  readonly manifests: readonly unknown[];
  readonly port: number;
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
}

/** Resolves when it serves; rejects with its log when it ends instead. */
export async function startControllerProcess(options: ControllerProcessOptions): Promise<ControllerProcess> {
  const { directory, port } = options;
  const at = (name: string): string => join(directory, name);
  mkdirSync(at('manifests'), { recursive: true });
  writeFileSync(at('manifests/all.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items: options.manifests }));
  const config = {
    data: at('data'),
    manifests: at('manifests'),
    listen: { host: '127.0.0.1', port },
    metrics: { host: '127.0.0.1', port: await freePort() },
    admin: at('admin.sock'),
    ...options.settings,
  };
  writeFileSync(at('controller.yaml'), JSON.stringify(config));
  const program = join(repository, 'examples/reference-controller/main.ts');
  const args = [
    '--import',
    'tsx',
    '--conditions=meshwright-source',
    program,
    'serve',
    '--config',
    at('controller.yaml'),
  ];
  const child = spawn(process.execPath, args, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const read = (text: Buffer): void => {
      log += text.toString('utf8');
      if (log.includes('"msg":"ready"')) resolve();
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('exit', (code) => reject(new Error(`the controller ended with ${String(code)}:\n${log}`)));
  });
  return {
    address: `127.0.0.1:${String(port)}`,
    admin: at('admin.sock'),
    store: at('data/ca'),
    log: () => log,
    stop: (signal = 'SIGTERM') => stop(child, ended, signal),
  };
}

async function stop(child: ChildProcess, ended: Promise<void>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  await ended;
}
