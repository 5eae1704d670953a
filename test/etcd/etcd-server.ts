/** Real etcd servers on loopback, each with a directory of its own, gone when the test ends. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/free-port.js';

export interface EtcdOptions {
  readonly tls?: { readonly certFile: string; readonly keyFile: string; readonly clientCaFile?: string };
  readonly args?: readonly string[];
}

interface Member {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
}

export class EtcdServer implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly #args: readonly string[];
  readonly #directory: string;
  #process: ChildProcess | undefined;
  #log = '';

  private constructor(member: Member, cluster: readonly Member[], options: EtcdOptions) {
    this.url = member.clientUrl;
    this.port = Number(new URL(member.clientUrl).port);
    this.#directory = mkdtempSync(join(tmpdir(), 'mw-etcd-'));
    const { tls } = options;
    this.#args = [
      ...['--name', member.name, '--data-dir', join(this.#directory, 'data')],
      ...['--listen-client-urls', member.clientUrl, '--advertise-client-urls', member.clientUrl],
      ...['--listen-peer-urls', member.peerUrl, '--initial-advertise-peer-urls', member.peerUrl],
      ...['--initial-cluster', cluster.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',')],
      // Killed processes lose nothing by it, and a disk that others keep busy would make leases end.
      ...['--log-level', 'warn', '--logger', 'zap', '--unsafe-no-fsync'],
      ...(tls === undefined ? [] : ['--cert-file', tls.certFile, '--key-file', tls.keyFile]),
      ...(tls?.clientCaFile === undefined ? [] : ['--client-cert-auth', '--trusted-ca-file', tls.clientCaFile]),
      ...(options.args ?? []),
    ];
  }

  static async start(options: EtcdOptions = {}): Promise<EtcdServer> {
    const [server] = await EtcdServer.cluster(1, options);
    if (server === undefined) throw new Error('no server');
    return server;
  }

  static async cluster(size: number, options: EtcdOptions = {}): Promise<readonly EtcdServer[]> {
    const ports = await Promise.all(Array.from({ length: 2 * size }, freePort));
    const scheme = options.tls === undefined ? 'http' : 'https';
    const members = Array.from({ length: size }, (_, index) => ({
      name: `m${String(index)}`,
      clientUrl: `${scheme}://127.0.0.1:${String(ports[2 * index])}`,
      peerUrl: `http://127.0.0.1:${String(ports[2 * index + 1])}`,
    }));
    const servers = members.map((member) => new EtcdServer(member, members, options));
    await Promise.all(servers.map((server) => server.start()));
    return servers;
  }

  async start(): Promise<void> {
    // With its own PATH alone: ETCD_* of the environment would be options.
    const child = spawn('etcd', [...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-20_000)));
    }
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if (child.exitCode !== null) throw new Error(`etcd ended: ${this.#log}`);
      if (/ready to serve client requests|serving (insecure )?client (requests|traffic)/i.test(this.#log)) return;
      if (await isHealthy(this.url)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`etcd did not start: ${this.#log}`);
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(signal);
  }

  /** Kills it; `start` starts it again on the same data. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function isHealthy(url: string): Promise<boolean> {
  if (!url.startsWith('http:')) {
    // TLS: that the port answers is enough; the log says no more at this level.
    const { connect } = await import('node:net');
    return new Promise((resolve) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      }).on('error', () => resolve(false));
    });
  }
  try {
    const response = await fetch(`${url}/health`);
    return ((await response.json()) as { health?: unknown }).health === 'true';
  } catch {
    return false;
  }
}
