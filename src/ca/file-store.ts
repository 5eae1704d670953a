import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '../internal/atomic-file.js';
import { CaError } from './errors.js';
import { keyDerivationSchema, loadStoreKey, newKeyDerivation, seal, unseal } from './store-key.js';
import type { StoreKeySource } from './store-key.js';
import { lockStore } from './store-lock.js';
import type { StoreLock } from './store-lock.js';
import { caDocuments } from './store.js';
import type { CaDocument, CaStore } from './store.js';

export interface FileStoreOptions {
  /** Made with mode 0700 when missing; refused when others may enter it. Local file systems only. */
  readonly directory: string;
  /** Encrypts every document (AES-256-GCM). Losing it means losing the CA. */
  readonly key: StoreKeySource;
  /**
   * Path of the Unix socket at which the process that opens the store can be asked meanwhile: whoever finds the store
   * locked is told (`CA_STORE_LOCKED`, in its fields).
   */
  readonly adminSocket?: string | undefined;
}

const maxDocumentBytes = 64 * 1024 * 1024;

/**
 * The manifest says what the store holds, so that a document that went missing is noticed instead of taken for a fresh
 * start. Its check value tells a wrong key from damaged data.
 */
const manifestSchema = z.strictObject({
  format: z.literal('meshwright-ca-store/1'),
  derivation: keyDerivationSchema,
  check: z.base64(),
  documents: z.array(z.enum(caDocuments)),
});
type Manifest = z.output<typeof manifestSchema>;

const checkText = Buffer.from('meshwright');

/**
 * A store in a directory: one encrypted 0600 file per document, written atomically, locked against a second process.
 * Anything that does not read back exactly is `CA_STORE_CORRUPT`, and nothing is overwritten.
 *
 * Not guarded against: an attacker who can write the directory may put back an older set of files.
 *
 * @example
 * const store = fileStore({ directory: '/var/lib/mesh/ca', key: { file: '/etc/mesh/ca.key' } });
 * const ca = await SpiffeCA.open({ store });
 */
export function fileStore(options: FileStoreOptions): CaStore {
  const { directory, key, adminSocket } = options;
  return new FileStore(resolve(directory), key, adminSocket === undefined ? undefined : resolve(adminSocket));
}

interface Opened {
  readonly lock: StoreLock;
  readonly key: Buffer;
  manifest: Manifest;
}

class FileStore implements CaStore {
  readonly #directory: string;
  readonly #keySource: StoreKeySource;
  readonly #adminSocket: string | undefined;
  #opened: Opened | undefined;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(directory: string, keySource: StoreKeySource, adminSocket: string | undefined) {
    this.#directory = directory;
    this.#keySource = keySource;
    this.#adminSocket = adminSocket;
  }

  async open(): Promise<void> {
    if (this.#opened !== undefined) throw new CaError('CA_STORE_LOCKED', 'this store is open already');
    let lock: StoreLock | undefined;
    try {
      await makePrivateDirectory(this.#directory);
      await this.#checkDirectory();
      lock = await lockStore(this.#directory, this.#adminSocket);
      const found = await this.#readManifest();
      const derivation = found?.derivation ?? newKeyDerivation(this.#keySource);
      const key = await loadStoreKey(this.#keySource, derivation, found === undefined);
      const manifest = found ?? (await this.#newManifest(key, derivation));
      if (unseal(key, 'check', Buffer.from(manifest.check, 'base64')) === undefined) {
        const message = `this is not the key that the store in ${this.#directory} was made with`;
        throw new CaError('CA_STORE_KEY_INVALID', message);
      }
      this.#opened = { lock, key, manifest };
    } catch (cause) {
      await lock?.release();
      throw this.#failed('opened', cause);
    }
  }

  async read(name: CaDocument): Promise<Uint8Array | undefined> {
    const { key, manifest } = this.#whenOpen();
    let sealed: Uint8Array | undefined;
    try {
      sealed = await readFileIfPresent(this.#path(name), maxDocumentBytes);
    } catch (cause) {
      throw this.#failed('read', cause);
    }
    if (sealed === undefined) {
      if (manifest.documents.includes(name)) throw this.#corrupt(`${name}.sealed is missing`);
      return undefined;
    }
    const plain = unseal(key, name, sealed);
    if (plain === undefined) throw this.#corrupt(`${name}.sealed does not decrypt: it was changed or damaged`);
    return plain;
  }

  write(name: CaDocument, bytes: Uint8Array): Promise<void> {
    const run = this.#writing.then(() => this.#write(name, bytes));
    this.#writing = run.catch(() => undefined);
    return run;
  }

  async #write(name: CaDocument, bytes: Uint8Array): Promise<void> {
    const opened = this.#whenOpen();
    try {
      await writeFileAtomic(this.#path(name), seal(opened.key, name, bytes));
      // After the document: a crash between the two leaves a document that the manifest does not know, which is harmless.
      if (!opened.manifest.documents.includes(name)) {
        const manifest = { ...opened.manifest, documents: [...opened.manifest.documents, name] };
        await this.#writeManifest(manifest);
        opened.manifest = manifest;
      }
    } catch (cause) {
      throw this.#failed('written', cause);
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.key.fill(0);
    await opened?.lock.release();
  }

  async #checkDirectory(): Promise<void> {
    const { mode } = await stat(this.#directory);
    if ((mode & 0o077) === 0) return;
    const found = (mode & 0o777).toString(8).padStart(4, '0');
    throw new CaError(
      'CA_STORE_FAILED',
      `${this.#directory} has mode ${found}; only its owner may enter it: chmod 700`,
    );
  }

  async #readManifest(): Promise<Manifest | undefined> {
    const bytes = await readFileIfPresent(join(this.#directory, 'store.json'), 64 * 1024);
    if (bytes === undefined) {
      const left = (await readdir(this.#directory)).filter((name) =>
        caDocuments.some((each) => name === `${each}.sealed`),
      );
      if (left.length > 0) throw this.#corrupt(`store.json is missing, but ${left.join(', ')} is there`);
      return undefined;
    }
    try {
      return manifestSchema.parse(JSON.parse(bytes.toString('utf8')));
    } catch (cause) {
      throw this.#corrupt('store.json is not what this program wrote', cause);
    }
  }

  async #newManifest(key: Buffer, derivation: Manifest['derivation']): Promise<Manifest> {
    const check = Buffer.from(seal(key, 'check', checkText)).toString('base64');
    const manifest: Manifest = { format: 'meshwright-ca-store/1', derivation, check, documents: [] };
    await this.#writeManifest(manifest);
    return manifest;
  }

  #writeManifest(manifest: Manifest): Promise<void> {
    return writeFileAtomic(join(this.#directory, 'store.json'), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
  }

  #path(name: CaDocument): string {
    return join(this.#directory, `${name}.sealed`);
  }

  #whenOpen(): Opened {
    if (this.#opened === undefined) throw new CaError('CA_CLOSED', 'the store is not open');
    return this.#opened;
  }

  #corrupt(what: string, cause?: unknown): CaError {
    const message = `the CA store in ${this.#directory} is damaged: ${what}. Restore it from a backup; nothing was changed`;
    return new CaError('CA_STORE_CORRUPT', message, { cause });
  }

  #failed(done: string, cause: unknown): Error {
    if (cause instanceof CaError) return cause;
    return new CaError('CA_STORE_FAILED', `the CA store in ${this.#directory} could not be ${done}`, { cause });
  }
}
