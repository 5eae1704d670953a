/** How a snapshot's content travels: canonical JSON, gzipped, in chunks. */
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { canonicalJson, sha256Hex } from './canonical-json.js';
import { SnapshotError } from './errors.js';

const compress = promisify(gzip);
const decompress = promisify(gunzip);

export const chunkBytes = 256 * 1024;
/** Default bound of one snapshot's content, and of its encoded form. */
export const defaultMaxBytes = 64 * 1024 * 1024;

export interface Content {
  readonly json: Buffer;
  readonly hash: string;
}

/** Throws `SNAPSHOT_NOT_JSON`, `SNAPSHOT_TOO_LARGE`. */
export function toContent(value: unknown, maxBytes: number): Content {
  const json = Buffer.from(canonicalJson(value));
  requireAtMost(json.length, maxBytes);
  return { json, hash: sha256Hex(json) };
}

export function encode(content: Content): Promise<Buffer> {
  return compress(content.json);
}

/** Checks length and hash before anything is parsed. Throws `SNAPSHOT_CORRUPT`. */
export async function decode(
  encoded: Uint8Array,
  expected: { readonly hash: string; readonly contentBytes: number },
): Promise<unknown> {
  let json: Buffer;
  try {
    // Refuses to inflate beyond what was announced, which was checked against the limit.
    json = await decompress(encoded, { maxOutputLength: Math.max(1, expected.contentBytes) });
  } catch (cause) {
    throw new SnapshotError('SNAPSHOT_CORRUPT', 'expected gzipped content of the announced length', { cause });
  }
  const hash = sha256Hex(json);
  if (json.length !== expected.contentBytes || hash !== expected.hash) {
    const message = `expected ${String(expected.contentBytes)} bytes with hash ${expected.hash}, got ${String(json.length)} with ${hash}`;
    throw new SnapshotError('SNAPSHOT_CORRUPT', message);
  }
  try {
    return JSON.parse(json.toString('utf8')) as unknown;
  } catch (cause) {
    throw new SnapshotError('SNAPSHOT_CORRUPT', 'expected JSON', { cause });
  }
}

export function* chunksOf(encoded: Buffer): Generator<Uint8Array> {
  for (let offset = 0; offset < encoded.length; offset += chunkBytes)
    yield encoded.subarray(offset, offset + chunkBytes);
}

export function requireAtMost(bytes: number, maxBytes: number): void {
  if (bytes <= maxBytes) return;
  const message = `expected a snapshot of at most ${String(maxBytes)} bytes, got ${String(bytes)}`;
  throw new SnapshotError('SNAPSHOT_TOO_LARGE', message, { fields: { bytes, maxBytes } });
}
