import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '../internal/atomic-file.js';
import { CaError } from './errors.js';

/** One small document of an agent that must survive a restart and holds a secret. */
export interface SecretFile {
  /** `undefined` when there is none. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}

const maxBytes = 16 * 1024 * 1024;

/**
 * A file of mode 0600, replaced atomically. Not encrypted: put it on a tmpfs or an encrypted disk. One that others may
 * read is refused (`CA_STORE_FAILED`): what it holds is no secret any more.
 */
export function secretFile(path: string): SecretFile {
  return Object.freeze({
    read: async () => {
      try {
        const bytes = await readFileIfPresent(path, maxBytes);
        if (bytes !== undefined && ((await stat(path)).mode & 0o077) !== 0) throw new Error('others may read it');
        return bytes;
      } catch (cause) {
        throw new CaError('CA_STORE_FAILED', `${path} cannot be used`, { cause });
      }
    },
    write: async (bytes: Uint8Array) => {
      try {
        await makePrivateDirectory(dirname(path));
        await writeFileAtomic(path, bytes);
      } catch (cause) {
        throw new CaError('CA_STORE_FAILED', `${path} cannot be written`, { cause });
      }
    },
  });
}
