import { LatestValueCell, describeError, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, LatestValue, Logger, Timer } from '../core/index.js';
import type { MeshState } from '../mesh/index.js';
import { contentHash } from '../snapshot/index.js';
import { AllocationFile } from './allocation-file.js';
import { KubernetesError } from './errors.js';
import { LastGoodFile } from './last-good-file.js';
import { DirectoryWatcher, ManifestFileReader } from './manifest-files.js';
import type { ManifestObject } from './manifest-object.js';
import type { ManifestProblem } from './manifest-problem.js';
import { ManifestSet } from './manifest-set.js';
import type { LoadedSet } from './manifest-set.js';
import { ProblemLog } from './problem-log.js';
import type { MappingOptions } from './to-mesh-state.js';

export interface ManifestDirectoryOptions extends MappingOptions {
  /** All `*.yaml`, `*.yml` and `*.json` in it and below are read. */
  readonly directory: string;
  /** Where last good forms are kept across restarts. Default: nowhere, so a restart forgets them. */
  readonly dataDirectory?: string | undefined;
  /** How long files must have been quiet before they are read: 0 to 100 ms. Default 50. */
  readonly debounceMs?: number | undefined;
  /** How often changes are looked for besides the file system's own word: 50 to 60 000 ms. Default 500. */
  readonly pollMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/** However busy the directory is, it is read at the latest after this. */
const maxQuietWaitMs = 300;

/**
 * A directory of manifests as a mesh state that follows the files. An object that becomes malformed keeps its last good
 * form; one that never had any is left out, and what it targets is denied; everything else proceeds. Deleting a file
 * deletes its objects; emptying it, or making it unreadable, does not. Problems are in `problems` and each is logged once.
 *
 * @example
 * const manifests = await ManifestDirectory.open({ directory: '/etc/mesh', trustDomain: 'cluster.local' });
 * manifests.state.subscribe((state) => publish(state));
 */
export class ManifestDirectory implements Closable {
  readonly #directory: string;
  readonly #debounceMs: number;
  readonly #pollMs: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #reader: ManifestFileReader;
  readonly #set: ManifestSet;
  readonly #lastGood: LastGoodFile | undefined;
  readonly #allocations: AllocationFile | undefined;
  readonly #watcher = new DirectoryWatcher(() => this.#touched());
  readonly #problemLog: ProblemLog;
  readonly #state: LatestValueCell<MeshState>;
  readonly #problems = new LatestValueCell<readonly ManifestProblem[]>([]);
  #stateHash: string;
  #savedObjects: readonly ManifestObject[] = [];
  #settle: Timer | undefined;
  #poll: Timer | undefined;
  #firstTouchMs: number | undefined;
  #running: Promise<void> = Promise.resolve();
  #unreadable = false;
  #closed = false;

  private constructor(options: ManifestDirectoryOptions, parts: Parts) {
    this.#directory = options.directory;
    this.#debounceMs = bounded('debounceMs', options.debounceMs ?? 50, 0, 100);
    this.#pollMs = bounded('pollMs', options.pollMs ?? 500, 50, 60_000);
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#problemLog = new ProblemLog(this.#logger);
    this.#reader = parts.reader;
    this.#set = parts.set;
    this.#lastGood = parts.lastGood;
    this.#allocations = parts.allocations;
    this.#state = new LatestValueCell(parts.loaded.state);
    this.#stateHash = contentHash(parts.loaded.state);
    this.#problems.set(parts.loaded.problems);
    this.#problemLog.report(parts.loaded.problems);
  }

  /**
   * Reads the directory once, then follows it. Throws `KUBERNETES_DIRECTORY_UNREADABLE`, `KUBERNETES_OPTION_INVALID`;
   * never for what the manifests say.
   */
  static async open(options: ManifestDirectoryOptions): Promise<ManifestDirectory> {
    const { dataDirectory, clock = systemClock, logger = silentLogger } = options;
    const lastGood = dataDirectory === undefined ? undefined : new LastGoodFile(dataDirectory, { clock, logger });
    const allocations = dataDirectory === undefined ? undefined : new AllocationFile(dataDirectory, { clock, logger });
    const set = new ManifestSet(options, await lastGood?.read(), await allocations?.read());
    const reader = new ManifestFileReader(options.directory);
    let loaded: LoadedSet;
    try {
      loaded = set.load(await reader.read());
    } catch (cause) {
      const message = `expected a directory that can be read at ${options.directory}, got: ${describeError(cause)}`;
      throw new KubernetesError('KUBERNETES_DIRECTORY_UNREADABLE', message, { cause });
    }
    await allocations?.save(loaded.poolAllocations);
    const directory = new ManifestDirectory(options, { set, reader, lastGood, allocations, loaded });
    await directory.#save();
    directory.#watcher.update(reader.directories);
    directory.#schedulePoll();
    // What changed while it was being read, before anything was watched.
    directory.#touched();
    return directory;
  }

  /** The mesh as the newest good manifests say; set only when the content changed. */
  get state(): LatestValue<MeshState> {
    return this.#state;
  }

  /** Everything that is wrong now, notes of severity `info` included. */
  get problems(): LatestValue<readonly ManifestProblem[]> {
    return this.#problems;
  }

  /** Reads the directory now, whether or not a change was noticed. */
  reload(): Promise<void> {
    this.#running = this.#running.then(() => (this.#closed ? undefined : this.#load()));
    return this.#running;
  }

  close(): Promise<void> {
    this.destroy();
    return this.#running;
  }

  destroy(): void {
    this.#closed = true;
    this.#watcher.close();
    this.#settle?.cancel();
    this.#poll?.cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #load(): Promise<void> {
    let loaded: LoadedSet;
    try {
      loaded = this.#set.load(await this.#reader.read());
    } catch (error) {
      if (!this.#unreadable) {
        this.#logger.error('manifest directory cannot be read; everything stays as it is', {
          code: 'KUBERNETES_DIRECTORY_UNREADABLE',
          directory: this.#directory,
          reason: describeError(error),
        });
      }
      this.#unreadable = true;
      return;
    }
    this.#unreadable = false;
    this.#watcher.update(this.#closed ? [] : this.#reader.directories);
    this.#problemLog.report(loaded.problems);
    this.#tell(this.#problems, loaded.problems);
    // First of all: an address that was given out must be known after a crash, or it may be given out again.
    await this.#allocations?.save(loaded.poolAllocations);
    const hash = contentHash(loaded.state);
    if (hash !== this.#stateHash) {
      this.#stateHash = hash;
      this.#tell(this.#state, loaded.state);
    }
    await this.#save();
  }

  async #save(): Promise<void> {
    const objects = [...this.#set.lastGood];
    const saved = this.#savedObjects;
    if (this.#lastGood === undefined) return;
    if (objects.length === saved.length && objects.every((object, index) => object === saved[index])) return;
    try {
      await this.#lastGood.write(objects);
      this.#savedObjects = objects;
    } catch (error) {
      this.#logger.error('last good manifests not saved', { reason: describeError(error) });
    }
  }

  #tell<V>(cell: LatestValueCell<V>, value: V): void {
    try {
      cell.set(value);
    } catch (error) {
      this.#logger.error('manifest subscriber failed', { reason: describeError(error) });
    }
  }

  /** Something changed: reads once it has been quiet for a while, so that a file is not read half-written. */
  #touched(): void {
    if (this.#closed) return;
    const nowMs = this.#clock.monotonicMs();
    this.#firstTouchMs ??= nowMs;
    const waitMs = Math.min(this.#debounceMs, Math.max(0, this.#firstTouchMs + maxQuietWaitMs - nowMs));
    this.#settle?.cancel();
    this.#settle = this.#clock.timer(waitMs, () => {
      this.#firstTouchMs = undefined;
      void this.reload();
    });
  }

  #schedulePoll(): void {
    if (this.#closed) return;
    this.#poll = this.#clock.timer(this.#pollMs, () => void this.#pollOnce());
  }

  async #pollOnce(): Promise<void> {
    try {
      if (await this.#reader.changed()) this.#touched();
    } catch {
      // The directory itself is gone: reading it says so, once.
      await this.reload();
    }
    this.#schedulePoll();
  }
}

interface Parts {
  readonly set: ManifestSet;
  readonly reader: ManifestFileReader;
  readonly lastGood: LastGoodFile | undefined;
  readonly allocations: AllocationFile | undefined;
  readonly loaded: LoadedSet;
}

function bounded(name: string, value: number, least: number, most: number): number {
  if (value >= least && value <= most) return value;
  const message = `expected ${name} from ${String(least)} to ${String(most)}, got ${String(value)}`;
  throw new KubernetesError('KUBERNETES_OPTION_INVALID', message);
}
