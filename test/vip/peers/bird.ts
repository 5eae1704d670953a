import { writeFileSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { Daemon } from './daemon.js';
import { ScratchDirectory } from './scratch-directory.js';
import { until } from './until.js';

/**
 * BIRD 2 in a namespace.
 *
 * ```ts
 * await using bird = await Bird.start(router, config);
 * await bird.birdc('show protocols all agent1');
 * ```
 */
export class Bird implements AsyncDisposable {
  readonly #namespace: NetNamespace;
  readonly #directory: ScratchDirectory;
  #daemon: Daemon;

  private constructor(namespace: NetNamespace, directory: ScratchDirectory) {
    this.#namespace = namespace;
    this.#directory = directory;
    this.#daemon = this.#spawn([]);
  }

  /** Resolves when its control socket answers. */
  static async start(namespace: NetNamespace, config: string): Promise<Bird> {
    const directory = new ScratchDirectory('bird');
    writeFileSync(directory.file('bird.conf'), config);
    const bird = new Bird(namespace, directory);
    try {
      await bird.#ready();
    } catch (error) {
      await bird[Symbol.asyncDispose]();
      throw error;
    }
    return bird;
  }

  get pid(): number {
    return this.#daemon.child.pid ?? 0;
  }

  get output(): string {
    return this.#daemon.output;
  }

  /** What `birdc` prints for one command. */
  async birdc(command: string): Promise<string> {
    const { stdout } = await this.#namespace.exec(
      'birdc',
      ['-s', this.#directory.file('bird.ctl'), ...command.split(' ')],
      {
        timeoutMs: 10_000,
      },
    );
    return stdout;
  }

  /** Loads another configuration as `birdc configure` does: only the protocols that changed restart. */
  async configure(config: string): Promise<string> {
    writeFileSync(this.#directory.file('bird.conf'), config);
    return this.birdc('configure');
  }

  /** The state that `show protocols` gives for a BGP protocol, as `Established` or `Active` or `Idle`. */
  async bgpState(protocol: string): Promise<string | undefined> {
    return /BGP state:\s+(\S+)/.exec(await this.birdc(`show protocols all ${protocol}`))?.[1];
  }

  async established(protocol: string, timeoutMs = 15_000): Promise<void> {
    await until(`BIRD says ${protocol} is Established`, async () => (await this.bgpState(protocol)) === 'Established', {
      timeoutMs,
      seen: async () => this.birdc(`show protocols all ${protocol}`),
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#daemon.signal(signal);
  }

  /** Ends the daemon: SIGTERM is an orderly shutdown, SIGKILL a crash. The kernel's routes stay after a crash. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#daemon.stop(signal);
  }

  /** Starts it again with the same configuration; `-R` makes it recover from a graceful restart. */
  async restart(options: { readonly graceful?: boolean } = {}): Promise<void> {
    this.#daemon = this.#spawn(options.graceful === true ? ['-R'] : []);
    await this.#ready();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    this.#directory[Symbol.dispose]();
  }

  #spawn(more: readonly string[]): Daemon {
    return new Daemon(this.#namespace, 'bird', [
      ...['-f', '-c', this.#directory.file('bird.conf')],
      ...['-s', this.#directory.file('bird.ctl'), '-P', this.#directory.file('bird.pid'), ...more],
    ]);
  }

  async #ready(): Promise<void> {
    const daemon = this.#daemon;
    await until(
      'BIRD answers on its control socket',
      async () => {
        daemon.assertRunning();
        return (await this.birdc('show status')).includes('is up and running');
      },
      { seen: () => daemon.output },
    );
  }
}
