import { z } from 'zod';
import { readJwsHeader } from '../internal/compact-jws.js';
import { SpiffeId } from '../spiffe/index.js';

/** A workload token that is held, and when it was received: half of its life is counted from there. */
export interface TokenEntry {
  readonly workload: SpiffeId;
  readonly keyThumbprint: string;
  readonly token: string;
  /** `kid` of the key that signed it. */
  readonly keyId: string;
  readonly receivedAtMs: number;
  readonly expiresAtMs: number;
}

const documentSchema = z.strictObject({
  format: z.literal('meshwright-workload-tokens/1'),
  tokens: z.array(
    z.strictObject({
      workload: z.string(),
      keyThumbprint: z.string(),
      token: z.string(),
      receivedAtMs: z.number(),
      expiresAtMs: z.number(),
    }),
  ),
});

/** One per workload and key. A space is in neither. */
export const entryKey = (workload: SpiffeId, keyThumbprint: string): string =>
  `${workload.toString()} ${keyThumbprint}`;

export function encodeEntries(entries: Iterable<TokenEntry>): Uint8Array {
  const tokens = Array.from(entries, ({ keyId: _, ...entry }) => ({ ...entry, workload: entry.workload.toString() }));
  return Buffer.from(JSON.stringify({ format: 'meshwright-workload-tokens/1', tokens }), 'utf8');
}

/** Throws for anything that `encodeEntries` did not write; the message quotes nothing of it. */
export function decodeEntries(bytes: Uint8Array): readonly TokenEntry[] {
  let parsed: z.output<typeof documentSchema>;
  try {
    parsed = documentSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    throw new Error('the kept workload tokens are damaged');
  }
  return parsed.tokens.map((entry) => ({
    ...entry,
    workload: SpiffeId.parse(entry.workload),
    keyId: String(readJwsHeader(entry.token)?.kid),
  }));
}
