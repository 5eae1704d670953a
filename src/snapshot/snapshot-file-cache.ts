import { timingSafeEqual } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeError, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Logger } from '../core/index.js';
import { makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '../internal/atomic-file.js';
import { canonicalJson, contentHash, sha256Hex } from './canonical-json.js';
import { SnapshotError } from './errors.js';
import type { Sealing } from './sealing.js';

export interface SnapshotFileCacheOptions<T> {
  /** The file. Its directory is made with mode 0700 where it is missing. */
  readonly path: string;
  /** Whose snapshot it is, such as the node's name: a file with another label counts as absent. Default empty. */
  readonly label?: string | undefined;
  /** Largest file. Default 128 MiB. */
  readonly maxBytes?: number | undefined;
  /** Checks what was read and gives it its type; throws to refuse it. Default: trusts the content. */
  readonly parse?: ((value: unknown) => T) | undefined;
  /** Encrypts at rest (`aesGcmSealing`). Default none: the digest then finds accidents, not forgers; the mode keeps those out. */
  readonly sealing?: Sealing | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

export interface CachedSnapshot<T> {
  readonly value: T;
  /** Content hash of `value`, checked. */
  readonly hash: string;
  readonly savedAt: Date;
}

const magic = 'meshwright-snapshot/1';

/**
 * The last good snapshot on disk, so that a restart without a controller serves at once. After a crash the file is the old
 * one or the new one. A file that is damaged in any byte, of another label, or writable for others counts as absent, with
 * the reason in the log; never is part of one used.
 */
export class SnapshotFileCache<T> {
  readonly #options: SnapshotFileCacheOptions<T>;
  readonly #maxBytes: number;
  readonly #label: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: SnapshotFileCacheOptions<T>) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? 128 * 1024 * 1024;
    this.#label = options.label ?? '';
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
  }

  get path(): string {
    return this.#options.path;
  }

  /** What was saved last, or undefined. Never throws: what cannot be read is logged and counts as absent. */
  async read(): Promise<CachedSnapshot<T> | undefined> {
    try {
      const bytes = await readFileIfPresent(this.path, this.#maxBytes);
      if (bytes === undefined) return undefined;
      await this.#requirePrivate();
      return this.#decode(bytes);
    } catch (error) {
      this.#logger.warn('cached snapshot not used', {
        code: 'SNAPSHOT_CACHE_UNREADABLE',
        path: this.path,
        reason: describeError(error),
      });
      return undefined;
    }
  }

  /**
   * Saves `value`, synced to disk when this resolves. Writes happen in the order of their calls. Throws
   * `SNAPSHOT_NOT_JSON`, `SNAPSHOT_TOO_LARGE` or the file system's error; the file is then what it was.
   */
  write(value: T): Promise<void> {
    const run = this.#tail.then(async () => {
      const bytes = this.#encode(value);
      if (bytes.length > this.#maxBytes) {
        const message = `expected at most ${String(this.#maxBytes)} bytes, got ${String(bytes.length)}`;
        throw new SnapshotError('SNAPSHOT_TOO_LARGE', message);
      }
      await makePrivateDirectory(dirname(this.path));
      await writeFileAtomic(this.path, bytes);
    });
    this.#tail = run.catch(() => undefined);
    return run;
  }

  /** `magic digest\n` and the body; the digest covers every byte of the body. */
  #encode(value: T): Buffer {
    const content = canonicalJson({ label: this.#label, savedAtMs: this.#clock.now(), value });
    const plain = Buffer.from(content);
    const body = this.#options.sealing?.seal(plain) ?? plain;
    return Buffer.concat([Buffer.from(`${magic} ${sha256Hex(body)}\n`), body]);
  }

  #decode(bytes: Buffer): CachedSnapshot<T> {
    const headLength = magic.length + 1 + 64 + 1;
    const body = bytes.subarray(headLength);
    const expected = Buffer.from(`${magic} ${sha256Hex(body)}\n`);
    const head = bytes.subarray(0, headLength);
    if (head.length !== expected.length || !timingSafeEqual(head, expected)) {
      throw new SnapshotError(
        'SNAPSHOT_CACHE_UNREADABLE',
        'expected the digest of the content, got another: it is damaged',
      );
    }
    const plain = Buffer.from(this.#options.sealing?.open(body) ?? body);
    const read = JSON.parse(plain.toString('utf8')) as { label?: unknown; savedAtMs?: unknown; value?: unknown };
    if (read.label !== this.#label || typeof read.savedAtMs !== 'number' || read.value === undefined) {
      const message = `expected a snapshot of ${JSON.stringify(this.#label)}, got one of ${JSON.stringify(read.label)}`;
      throw new SnapshotError('SNAPSHOT_CACHE_UNREADABLE', message);
    }
    const value = this.#options.parse === undefined ? (read.value as T) : this.#options.parse(read.value);
    return Object.freeze({ value, hash: contentHash(read.value), savedAt: new Date(read.savedAtMs) });
  }

  async #requirePrivate(): Promise<void> {
    const { mode, uid } = await stat(this.path);
    const own = process.getuid?.() ?? uid;
    if ((mode & 0o022) !== 0 || (uid !== own && uid !== 0)) {
      const shown = `mode ${(mode & 0o777).toString(8)}, owner ${String(uid)}`;
      throw new SnapshotError(
        'SNAPSHOT_CACHE_UNREADABLE',
        `expected a file that only its owner may write, got ${shown}`,
      );
    }
  }
}
