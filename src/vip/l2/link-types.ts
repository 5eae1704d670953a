import type { ProbeTimingsChoice } from './timings.js';

/** What a link is like now. */
export interface L2LinkState {
  /** There is an interface of that name, and it is Ethernet. */
  readonly present: boolean;
  /** And it is up, with a carrier. */
  readonly up: boolean;
  readonly mac: string | undefined;
}

export interface ProbeOptions {
  /** Ends it by rejecting with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Default: those of the link. */
  readonly timings?: ProbeTimingsChoice | undefined;
}

export interface AnnounceOptions {
  /**
   * Another station uses the address, and either goes on after it was answered, or was not answered because of
   * `mayAnnounce`. The holder decides what is right; meanwhile announcing goes on. At most once a second.
   */
  readonly onConflict: (conflict: { readonly mac: string }) => void;
  /**
   * Asked before every packet: whether this machine is the owner now. A process that was stopped and goes on must not
   * announce what has meanwhile another owner, so ask the lease's deadline here. What throws means no. Default: always.
   */
  readonly mayAnnounce?: (() => boolean) | undefined;
}

/** An address that is being announced. */
export interface L2Announcement extends Disposable {
  readonly address: string;
  /** Announces now, and starts the burst over. */
  reannounce(): void;
  /** Sends nothing more. Idempotent. The address stays where it is. */
  stop(): void;
}
