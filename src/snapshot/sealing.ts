import { createCipheriv, createDecipheriv } from 'node:crypto';
import { systemRandom } from '../core/index.js';
import type { Random } from '../core/index.js';
import { SnapshotError } from './errors.js';

/** Protects bytes at rest. `open` must throw for anything that `seal` of the same key did not make. */
export interface Sealing {
  seal(plain: Uint8Array): Uint8Array;
  open(sealed: Uint8Array): Uint8Array;
}

const nonceBytes = 12;
const tagBytes = 16;

/** AES-256-GCM with a random nonce for each file. `key` has 32 bytes; throws `SNAPSHOT_OPTION_INVALID` otherwise. */
export function aesGcmSealing(key: Uint8Array, random: Random = systemRandom): Sealing {
  if (key.length !== 32) {
    throw new SnapshotError('SNAPSHOT_OPTION_INVALID', `expected a key of 32 bytes, got ${String(key.length)}`);
  }
  return Object.freeze({
    seal: (plain: Uint8Array): Uint8Array => {
      const nonce = random.bytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      const body = Buffer.concat([cipher.update(plain), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), body]);
    },
    open: (sealed: Uint8Array): Uint8Array => {
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      });
      decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
      return Buffer.concat([decipher.update(sealed.subarray(nonceBytes + tagBytes)), decipher.final()]);
    },
  });
}
