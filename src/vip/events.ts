import type { BfdEvent } from './bfd/index.js';
import type { BgpEvent } from './bgp/index.js';
import type { L2Event } from './l2/index.js';
import type { VipState, VipStatus } from './vip-status.js';

/** What the manager itself reports. */
export type VipManagerEvent =
  | { readonly type: 'vip.state'; readonly status: VipStatus; readonly from: VipState | undefined }
  | {
      /** A lease was taken, given back, or ended against our will. */
      readonly type: 'vip.lease';
      readonly name: string;
      readonly address: string;
      readonly change: 'acquired' | 'released' | 'lost' | 'expired';
      readonly fencingToken: bigint;
    }
  | {
      /** Somebody outside of the ownership uses the address. */
      readonly type: 'vip.conflict';
      readonly name: string;
      readonly address: string;
      readonly mac: string;
      /** Found before the address was used, or after. */
      readonly when: 'probing' | 'announcing';
    }
  /** An address that an earlier run had left was removed. */
  | { readonly type: 'vip.swept'; readonly address: string; readonly device: string }
  | {
      /** New connections were held before a withdrawal by BGP, or before it was announced (GRACEFUL_SHUTDOWN). */
      readonly type: 'vip.quiesced';
      readonly name: string;
      readonly address: string;
      /** `quiet`: those under way have ended. `late`: some were open at the end of `quiesceMs`. `failed`: `quiesce` did. */
      readonly outcome: 'quiet' | 'late' | 'failed';
      readonly tookMs: number;
    }
  /** A step failed and is tried again. */
  | { readonly type: 'vip.failure'; readonly name: string; readonly address: string; readonly code: string };

/** What a `VipManager` and its parts report to an `Observer<VipEvent>`. */
export type VipEvent = VipManagerEvent | L2Event | BgpEvent | BfdEvent;
