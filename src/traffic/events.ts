import type { HttpRequestFacts } from './http1-request.js';

/** The answer to one request. Only exactly `allowed: true` lets it through; more properties may ride along for the observer. */
export type HttpVerdict =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      /** 400 to 599. Default 403. */
      readonly status?: number | undefined;
    };

/** One request of a proxied connection, reported when its response has ended. */
export interface HttpRequestEvent {
  readonly type: 'http-request';
  /** One of a bounded set: the registered methods, else `other`. Safe as a label. */
  readonly method: string;
  /** What was judged; absent when the request was refused before judgement. */
  readonly facts?: HttpRequestFacts | undefined;
  /** The very object that `authorize` returned; absent when it was not asked. */
  readonly verdict?: HttpVerdict | undefined;
  readonly allowed: boolean;
  /** The status the client got; absent when the connection ended before a status was sent. */
  readonly status?: number | undefined;
  /** `complete`: the response was sent whole. `refused`: by policy. `malformed`: not judged. `upstream-failed`, `aborted`: cut. `upgraded`: 101. */
  readonly outcome: 'complete' | 'refused' | 'malformed' | 'upstream-failed' | 'aborted' | 'upgraded';
  /** What was wrong with a malformed request or a failed upstream, for the log. Holds no value the client sent. */
  readonly problem?: string | undefined;
  /** From the end of the request's head to the end of its response. */
  readonly durationMs: number;
}

/** What `proxyHttp1` reports. */
export type TrafficEvent = HttpRequestEvent;

const labels = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'CONNECT']);

/** A method as a label of bounded cardinality. */
export function methodClass(method: string): string {
  return labels.has(method) ? method : 'other';
}
