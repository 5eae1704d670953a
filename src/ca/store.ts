/**
 * Where a CA keeps what must survive a restart: a few small named documents, each replaced as a whole.
 *
 * A store is exclusive: while one is open, opening the same place again fails. Documents hold private keys; a store that
 * lasts encrypts them. `write` returns only when the document is safe; a crash leaves the old or the new one.
 */
export interface CaStore {
  /** Takes the place for the caller alone. Throws `CA_STORE_LOCKED`, `CA_STORE_KEY_INVALID`, `CA_STORE_CORRUPT`, `CA_STORE_FAILED`. */
  open(): Promise<void>;
  /** The document, or `undefined` when it was never written. Throws `CA_STORE_CORRUPT` for one that was and cannot be read. */
  read(name: CaDocument): Promise<Uint8Array | undefined>;
  /** Throws `CA_STORE_FAILED`; the old document is then still there. */
  write(name: CaDocument, bytes: Uint8Array): Promise<void>;
  /** Gives the place up. Idempotent. */
  close(): Promise<void>;
}

/** The documents there are. */
export const caDocuments = ['authority', 'join-tokens', 'used-evidence'] as const;
export type CaDocument = (typeof caDocuments)[number];
