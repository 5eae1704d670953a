import { writeFileSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { Daemon } from './daemon.js';
import { ScratchDirectory } from './scratch-directory.js';
import { until } from './until.js';

/** GoBGP in a namespace; it keeps its routes to itself (no kernel table). */
export class GoBgp implements AsyncDisposable {
  readonly #namespace: NetNamespace;
  readonly #directory: ScratchDirectory;
  #daemon: Daemon;

  private constructor(namespace: NetNamespace, directory: ScratchDirectory) {
    this.#namespace = namespace;
    this.#directory = directory;
    this.#daemon = this.#spawn([]);
  }

  /** `config` is TOML. Resolves when its API answers. */
  static async start(namespace: NetNamespace, config: string): Promise<GoBgp> {
    const directory = new ScratchDirectory('gobgp');
    writeFileSync(directory.file('gobgpd.toml'), config);
    const gobgp = new GoBgp(namespace, directory);
    try {
      await gobgp.#ready();
    } catch (error) {
      await gobgp[Symbol.asyncDispose]();
      throw error;
    }
    return gobgp;
  }

  get output(): string {
    return this.#daemon.output;
  }

  /** What `gobgp` prints. */
  async gobgp(...args: readonly string[]): Promise<string> {
    return (await this.#namespace.exec('gobgp', args, { timeoutMs: 10_000 })).stdout;
  }

  /** What `gobgp -j` prints, parsed. */
  async json(...args: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.gobgp('-j', ...args)) as unknown;
  }

  async established(neighbor: string, timeoutMs = 20_000): Promise<void> {
    await until(
      `GoBGP says ${neighbor} is established`,
      async () => /BGP state = ESTABLISHED/i.test(await this.gobgp('neighbor', neighbor)),
      { timeoutMs, everyMs: 250, seen: () => this.output.slice(-1500) },
    );
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#daemon.stop(signal);
  }

  async restart(options: { readonly graceful?: boolean } = {}): Promise<void> {
    this.#daemon = this.#spawn(options.graceful === true ? ['-r'] : []);
    await this.#ready();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    this.#directory[Symbol.dispose]();
  }

  #spawn(more: readonly string[]): Daemon {
    return new Daemon(this.#namespace, 'gobgpd', [
      ...['-f', this.#directory.file('gobgpd.toml'), '--api-hosts', '127.0.0.1:50051', '-l', 'debug', ...more],
    ]);
  }

  async #ready(): Promise<void> {
    const daemon = this.#daemon;
    await until(
      'GoBGP answers on its API',
      async () => {
        daemon.assertRunning();
        return (await this.gobgp('global')).includes('AS:');
      },
      { seen: () => daemon.output },
    );
  }
}
