/** A directory's manifest files, and word of their changes. */
import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { readFile, readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { describeError } from '../core/index.js';
import type { FileContent } from './manifest-set.js';

const extensions = new Set(['.yaml', '.yml', '.json']);
const maxFileBytes = 16 * 1024 * 1024;

export interface DirectoryListing {
  /** Path -> what changes whenever the file does; sorted by path. */
  readonly files: ReadonlyMap<string, string>;
  readonly directories: readonly string[];
}

/**
 * Finds manifest files, in subdirectories too. Names that start with a dot are left out: editors' temporary files, and the
 * versions behind a ConfigMap volume, whose files are reached through the links beside them. Links to files are followed,
 * links to directories are not, so that no cycle can form.
 */
export async function listManifestFiles(directory: string): Promise<DirectoryListing> {
  const files = new Map<string, string>();
  const directories: string[] = [];
  const walk = async (at: string): Promise<void> => {
    directories.push(at);
    const entries = await readdir(at, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith('.')) continue;
      const path = join(at, entry.name);
      if (entry.isDirectory()) await walk(path);
      else if (extensions.has(extname(entry.name))) {
        const seen = await stat(path, { bigint: true }).catch(absent);
        if (seen !== undefined && !seen.isFile()) continue;
        // A link to nothing is listed too: reading it says what is wrong, unless it is gone by then.
        files.set(
          path,
          seen === undefined
            ? ''
            : `${String(seen.ino)} ${String(seen.size)} ${String(seen.mtimeNs)} ${String(seen.ctimeNs)}`,
        );
      }
    }
  };
  await walk(directory);
  return { files: new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))), directories };
}

/** Undefined when there is no such file any more. */
export async function readManifestFile(path: string): Promise<FileContent | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxFileBytes) return { unreadable: `${String(size)} bytes, more than ${String(maxFileBytes)}` };
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)) };
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : { unreadable: describeError(error) };
  }
}

/** The files of one directory as they are now, read again only when they changed. */
export class ManifestFileReader {
  readonly #directory: string;
  #listing: DirectoryListing = { files: new Map(), directories: [] };
  #contents: ReadonlyMap<string, FileContent> = new Map();

  constructor(directory: string) {
    this.#directory = directory;
  }

  get directories(): readonly string[] {
    return this.#listing.directories;
  }

  /** Whether a listing made now would differ. */
  async changed(): Promise<boolean> {
    const { files } = await listManifestFiles(this.#directory);
    return (
      files.size !== this.#listing.files.size ||
      [...files].some(([path, mark]) => this.#listing.files.get(path) !== mark)
    );
  }

  /** Throws when the directory itself cannot be read. */
  async read(): Promise<ReadonlyMap<string, FileContent>> {
    const listing = await listManifestFiles(this.#directory);
    const contents = new Map<string, FileContent>();
    for (const [path, mark] of listing.files) {
      const known = this.#listing.files.get(path) === mark ? this.#contents.get(path) : undefined;
      const content = known !== undefined && 'text' in known ? known : await readManifestFile(path);
      if (content !== undefined) contents.set(path, content);
    }
    this.#listing = listing;
    this.#contents = contents;
    return contents;
  }
}

/** Calls `onChange` when something happens in the directories. Only a hint: what it misses, polling finds. */
export class DirectoryWatcher {
  readonly #onChange: () => void;
  readonly #watchers = new Map<string, FSWatcher>();

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Watches exactly `directories`. */
  update(directories: readonly string[]): void {
    for (const [directory, watcher] of this.#watchers) {
      if (directories.includes(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of directories) if (!this.#watchers.has(directory)) this.#add(directory);
  }

  close(): void {
    this.update([]);
  }

  #add(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, () => this.#onChange());
      // Deleted, or out of watches: the next update tries again, and polling goes on.
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(directory);
      });
      this.#watchers.set(directory, watcher);
    } catch {
      // As above.
    }
  }
}

function absent(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'EACCES' || code === 'ELOOP') return undefined;
  throw error;
}
