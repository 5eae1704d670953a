import { z } from 'zod';

/** What is denied: one certificate, one identity, or a node with everything it vouches for. */
export const denialKinds = ['serial-number', 'spiffe-id', 'node'] as const;
export type DenialKind = (typeof denialKinds)[number];

export const denialSchema = z.strictObject({
  kind: z.enum(denialKinds),
  value: z.string(),
  reason: z.string(),
  addedAtMs: z.number(),
  /** The entry is dropped then. Missing: it stays until it is taken off. */
  untilMs: z.number().optional(),
});

/** One entry of the CA's deny list. */
export type Denial = Readonly<z.output<typeof denialSchema>>;
