import type { BgpAttributeFault, BgpDecodeReason } from './codec/decoded.js';
import type { BgpFsmEventType, BgpFsmState } from './fsm/table.js';

/** Why a connection from outside was not taken. */
export type BgpConnectionRefusal = 'unknown-peer' | 'wrong-local-address' | 'peer-idle' | 'closing';

/** What the speaker reports to an `Observer<BgpEvent>`. `peer` is the address. Values never contain passwords. */
export type BgpEvent =
  | {
      /** The more advanced of a peer's connections has changed its state. */
      readonly type: 'vip.bgp-peer-state';
      readonly peer: string;
      readonly from: BgpFsmState;
      readonly to: BgpFsmState;
      readonly cause: BgpFsmEventType;
    }
  | { readonly type: 'vip.bgp-connection-refused'; readonly remote: string; readonly reason: BgpConnectionRefusal }
  | {
      readonly type: 'vip.bgp-notification';
      readonly peer: string;
      readonly direction: 'sent' | 'received';
      readonly code: number;
      readonly subcode: number;
      /** In words. */
      readonly meaning: string;
    }
  | {
      /** A message that breaks the protocol: the session ended. */
      readonly type: 'vip.bgp-malformed';
      readonly peer: string;
      readonly reason: BgpDecodeReason;
    }
  | {
      /** An attribute that breaks the protocol, survived as RFC 7606 has it. */
      readonly type: 'vip.bgp-attribute-fault';
      readonly peer: string;
      readonly fault: BgpAttributeFault;
      readonly action: 'treat-as-withdraw' | 'attribute-discard';
    }
  | {
      /** One UPDATE came in; nothing of it is kept. */
      readonly type: 'vip.bgp-update-received';
      readonly peer: string;
      readonly announced: number;
      readonly withdrawn: number;
    }
  | {
      readonly type: 'vip.bgp-update-sent';
      readonly peer: string;
      readonly announced: number;
      readonly withdrawn: number;
      readonly messages: number;
    }
  | { readonly type: 'vip.bgp-end-of-rib'; readonly peer: string; readonly direction: 'sent' | 'received' }
  | { readonly type: 'vip.bgp-collision'; readonly peer: string; readonly kept: 'outgoing' | 'incoming' }
  | { readonly type: 'vip.bgp-peer-error'; readonly peer: string; readonly code: string; readonly message: string };
