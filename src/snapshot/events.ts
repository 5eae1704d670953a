/** What this module reports to an `Observer`. */
export type SnapshotEvent =
  | {
      readonly type: 'snapshot-applied';
      readonly sequence: number;
      readonly hash: string;
      readonly from: 'controller' | 'cache';
    }
  | {
      /** The agent keeps serving what it had. */
      readonly type: 'snapshot-refused';
      readonly hash: string | undefined;
      readonly code: string | undefined;
      readonly reason: string;
      readonly from: 'controller' | 'cache';
    }
  | { readonly type: 'snapshot-stream'; readonly connected: boolean; readonly reason: string | undefined }
  | {
      readonly type: 'snapshot-published';
      readonly node: string;
      readonly sequence: number;
      readonly hash: string;
      readonly contentBytes: number;
    }
  | {
      readonly type: 'snapshot-answered';
      readonly node: string;
      readonly sequence: number;
      readonly hash: string;
      readonly accepted: boolean;
      readonly reason: string | undefined;
    }
  | { readonly type: 'snapshot-stream-refused'; readonly reason: string };
