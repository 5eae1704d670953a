import type { SpiffeId } from '../spiffe/index.js';
import type { EvidenceKey } from './evidence.js';
import type { SourceVia } from './events.js';
import type { RefusalReason } from './refusal.js';

/** Who is asking, as far as it was verified. The same shape whether it came through a tunnel or from this very node. */
export interface AuthenticatedSource {
  /** The workload; undefined for plaintext. */
  readonly principal?: SpiffeId | undefined;
  /** The node that vouches for it; undefined for plaintext and for peers that present a workload SVID. */
  readonly node?: string | undefined;
  readonly via: SourceVia;
  /** Of the certificate it rests on: the peer's, or this very agent's own. */
  readonly serialNumber?: string | undefined;
  /** What keeps its connections alive; undefined for plaintext, which has no evidence to lose. */
  readonly evidence?: EvidenceKey | undefined;
  /** An address that was found to be the principal's own (or, for plaintext, the address of the TCP peer). */
  readonly address?: string | undefined;
}

/** A source that could not be verified. */
export interface UnverifiedSource {
  readonly refused: RefusalReason;
  /** For the log; never sent to the peer. */
  readonly detail: string;
}
