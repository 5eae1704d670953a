/** What the data path reports to an `Observer<MeshEvent>`; `meshwright/telemetry` turns it into metrics and access logs. */
import type { Decision } from '../authz/index.js';
import type { DetectedProtocol } from '../traffic/index.js';
import type { RefusalReason } from './refusal.js';

/** How a connection's source was authenticated; `none` is plaintext judged without a principal. */
export type SourceVia = 'token' | 'svid' | 'local' | 'none';

/** The two ends of one connection, as far as they are known. All values are verified ones. */
export interface ConnectionFacts {
  readonly id: string;
  readonly traceId: string;
  readonly principal?: string | undefined;
  readonly node?: string | undefined;
  readonly via?: SourceVia | undefined;
  readonly sourceAddress?: string | undefined;
  /** `ip:port`. */
  readonly destination: string;
  /** `namespace/name` of the workload. */
  readonly workload?: string | undefined;
  /** `namespace/name` of the services it belongs to. */
  readonly services?: readonly string[] | undefined;
}

export type MeshEvent =
  | {
      readonly type: 'connection-opened';
      readonly side: 'inbound' | 'outbound';
      readonly connection: ConnectionFacts;
    }
  | {
      readonly type: 'connection-closed';
      readonly side: 'inbound' | 'outbound';
      readonly connection: ConnectionFacts;
      readonly outcome: 'eof' | 'reset' | 'error' | 'refused' | 'aborted';
      readonly reason?: RefusalReason | undefined;
      readonly sentBytes: number;
      readonly receivedBytes: number;
      readonly durationMs: number;
    }
  | {
      /** A connection (or the CONNECT of one) was refused. */
      readonly type: 'connection-refused';
      readonly side: 'inbound' | 'outbound';
      readonly connection: ConnectionFacts;
      readonly reason: RefusalReason;
      readonly decision?: Decision | undefined;
      /** With `http-required`: what the client spoke instead of HTTP/1 in the clear. */
      readonly protocol?: DetectedProtocol | undefined;
    }
  | {
      /** One judged request: an HTTP request, or an opaque connection as a whole (`protocol: 'tcp'`). */
      readonly type: 'request';
      readonly connection: ConnectionFacts;
      readonly protocol: 'http1' | 'tcp';
      readonly decision: Decision;
      readonly method?: string | undefined;
      /** Without the query. */
      readonly path?: string | undefined;
      readonly status?: number | undefined;
      readonly durationMs?: number | undefined;
    }
  | {
      /** HTTP that was refused before judgement: malformed, ambiguous, beyond a limit. */
      readonly type: 'request-malformed';
      readonly connection: ConnectionFacts;
      readonly status?: number | undefined;
      readonly problem: string;
    }
  | {
      /** Plaintext reached the inbound listener. */
      readonly type: 'plaintext-inbound';
      readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
      readonly verdict: 'refused' | 'allowed' | 'denied';
      readonly connection: ConnectionFacts;
    };
