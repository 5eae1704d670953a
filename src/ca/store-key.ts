import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { CaError } from './errors.js';

/**
 * Where the 32-byte key of a file store comes from.
 * - `file`: 64 hex digits or base64, in a file that only its owner may read (0600). With `createIfMissing` a fresh one is made for
 *   a store that is empty; never for one that holds something.
 * - `passphrase`: stretched with scrypt (N = 2^17, r = 8, p = 1, salt of its own per store).
 */
export type StoreKeySource =
  { readonly file: string; readonly createIfMissing?: boolean | undefined } | { readonly passphrase: string };

/** How a store's key is derived; kept in the store's manifest. */
export const keyDerivationSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('file') }),
  z.strictObject({
    kind: z.literal('scrypt'),
    salt: z.base64(),
    // Bounded, so that a manifest that was tampered with cannot ask for all memory there is.
    logN: z.number().int().min(14).max(20),
    r: z.literal(8),
    p: z.literal(1),
  }),
]);
export type KeyDerivation = z.output<typeof keyDerivationSchema>;

/** Parameters for a new store with this kind of key. */
export function newKeyDerivation(source: StoreKeySource): KeyDerivation {
  if ('file' in source) return { kind: 'file' };
  return { kind: 'scrypt', salt: randomBytes(16).toString('base64'), logN: 17, r: 8, p: 1 };
}

/** Throws `CA_STORE_KEY_INVALID`. */
export async function loadStoreKey(
  source: StoreKeySource,
  derivation: KeyDerivation,
  storeIsNew: boolean,
): Promise<Buffer> {
  if ('passphrase' in source) {
    if (source.passphrase === '') throw new CaError('CA_STORE_KEY_INVALID', 'expected a passphrase, got an empty one');
    if (derivation.kind !== 'scrypt') throw wrongKind('a key file');
    const { logN, r, p, salt } = derivation;
    const N = 2 ** logN;
    const stretch = promisify<string, Buffer, number, object, Buffer>(scrypt);
    return stretch(source.passphrase, Buffer.from(salt, 'base64'), 32, { N, r, p, maxmem: 256 * N * r });
  }
  if (derivation.kind !== 'file') throw wrongKind('a passphrase');
  return readKeyFile(source.file, storeIsNew && source.createIfMissing === true);
}

/** AES-256-GCM: a fresh 96-bit nonce, then ciphertext, then the tag. `context` is authenticated, so documents cannot be swapped. */
export function seal(key: Uint8Array, context: string, plain: Uint8Array): Uint8Array {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context, 'utf8'));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** The plain text, or `undefined` when key, context or bytes are not those it was sealed with. */
export function unseal(key: Uint8Array, context: string, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < 28) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12), { authTagLength: 16 })
    .setAAD(Buffer.from(context, 'utf8'))
    .setAuthTag(sealed.subarray(sealed.length - 16));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch {
    return undefined;
  }
}

async function readKeyFile(path: string, create: boolean): Promise<Buffer> {
  try {
    if (create) await createKeyFile(path);
    const { mode, size } = await stat(path);
    if ((mode & 0o077) !== 0) {
      const found = (mode & 0o777).toString(8).padStart(4, '0');
      throw new CaError(
        'CA_STORE_KEY_INVALID',
        `the key file ${path} has mode ${found}; only its owner may read it: chmod 600`,
      );
    }
    if (size > 1024) throw new CaError('CA_STORE_KEY_INVALID', `the key file ${path} is too large to hold a key`);
    const file = await open(path, 'r');
    try {
      return decodeKey(path, (await file.readFile('utf8')).trim());
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    throw new CaError('CA_STORE_KEY_INVALID', `the key file ${path} cannot be read`, { cause });
  }
}

function decodeKey(path: string, text: string): Buffer {
  const key = /^[0-9a-fA-F]{64}$/.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  const isBase64 = key.toString('base64') === text || key.toString('base64').replace(/=+$/, '') === text;
  if (key.length !== 32 || !(isBase64 || text.length === 64)) {
    throw new CaError('CA_STORE_KEY_INVALID', `expected 32 bytes as 64 hex digits or base64 in the key file ${path}`);
  }
  return key;
}

async function createKeyFile(path: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(`${randomBytes(32).toString('hex')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

const wrongKind = (was: string): CaError =>
  new CaError('CA_STORE_KEY_INVALID', `this store was made with ${was}; give the same kind of key`);
