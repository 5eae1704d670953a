import type { BfdRefusals } from './engine.js';
import type { BfdStatus } from './status.js';

/** What BFD reports to an `Observer`. */
export type BfdEvent =
  | {
      readonly type: 'vip.bfd-state';
      readonly peer: string;
      readonly local: string;
      readonly status: BfdStatus;
    }
  /** Datagrams dropped in the last second, by reason. */
  | { readonly type: 'vip.bfd-packets-refused'; readonly refusals: BfdRefusals }
  /** The thread ended unasked; its sessions are down, and it is started again. */
  | { readonly type: 'vip.bfd-worker-failed'; readonly error: string };
