import type { ArpRefusal } from './arp.js';
import type { NeighborRefusal } from './neighbor-discovery.js';

/** Why an announcement was sent. */
export type AnnounceReason = 'claim' | 'burst' | 'repeat' | 'link-up' | 'defence' | 'requested';

/** What an `L2Link` reports to an `Observer`. `address` is an IP, `mac` that of another station. */
export type L2Event =
  | { readonly type: 'vip.l2-link'; readonly interface: string; readonly present: boolean; readonly up: boolean }
  | {
      readonly type: 'vip.l2-probed';
      readonly interface: string;
      readonly address: string;
      /** `aborted`: by the signal, the end of the link, or an interface that went down. */
      readonly outcome: 'free' | 'taken' | 'aborted';
      readonly mac?: string | undefined;
      readonly durationMs: number;
    }
  | {
      readonly type: 'vip.l2-announced';
      readonly interface: string;
      readonly address: string;
      readonly reason: AnnounceReason;
    }
  | {
      readonly type: 'vip.l2-announcement-withheld';
      readonly interface: string;
      readonly address: string;
      readonly reason: AnnounceReason;
      /** `not-owner`: `mayAnnounce` said no. `rate`: too many for this address; its next regular one goes out. */
      readonly why: 'not-owner' | 'rate' | 'link-down';
    }
  | {
      readonly type: 'vip.l2-conflict';
      readonly interface: string;
      readonly address: string;
      readonly mac: string;
      /** Answered by an announcement (RFC 5227 section 2.4); at most once per defend interval. */
      readonly defended: boolean;
    }
  | {
      readonly type: 'vip.l2-packet-refused';
      readonly interface: string;
      readonly protocol: 'arp' | 'nd';
      readonly reason: ArpRefusal | NeighborRefusal;
    }
  /** `error` is the name of an errno such as ENOBUFS, or EAGAIN. */
  | { readonly type: 'vip.l2-send-failed'; readonly interface: string; readonly error: string }
  /** More packets about our addresses than are looked at; `dropped` by the kernel since the last report. */
  | { readonly type: 'vip.l2-overloaded'; readonly interface: string; readonly dropped: number };
