/** Judges every HTTP/1 request of an admitted connection by the newest view, and passes the allowed ones on. */
import type { Duplex } from 'node:stream';
import { notify } from '../../core/index.js';
import type { Clock, Logger, Observer } from '../../core/index.js';
import { proxyHttp1 } from '../../traffic/index.js';
import type { Http1ProxyResult, HttpVerdict } from '../../traffic/index.js';
import type { Decision } from '../../authz/index.js';
import type { MeshEvent } from '../events.js';
import type { LiveConnection } from './live-connection.js';
import type { MeshViews } from '../mesh-views.js';

export interface ServeHttpOptions {
  readonly connection: LiveConnection;
  readonly views: MeshViews;
  readonly downstream: Duplex;
  /** The workload's connection, dialled before the tunnel was accepted; used first. */
  readonly upstream: Duplex;
  /** Makes another, when the workload closed the first one between requests. */
  readonly dial: () => Promise<Duplex>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer: Observer<MeshEvent>;
  readonly signal: AbortSignal;
}

/** The decision rides along with the verdict, so that the report shares the object that was enforced. */
type JudgedVerdict = HttpVerdict & { readonly decision: Decision };

export function serveHttp(options: ServeHttpOptions): Promise<Http1ProxyResult> {
  const { connection, views, downstream, dial } = options;
  let first: Duplex | undefined = options.upstream;
  return proxyHttp1({
    downstream,
    connectUpstream: () => {
      const upstream = first;
      first = undefined;
      const usable = upstream !== undefined && !upstream.destroyed && !upstream.readableEnded && upstream.writable;
      return usable ? Promise.resolve(upstream) : dial();
    },
    authorize: (request): HttpVerdict => {
      const view = views.current;
      if (view === undefined) return { allowed: false, status: 503 };
      const decision = connection.judge(view, request);
      const verdict: JudgedVerdict = decision.allowed ? { allowed: true, decision } : { allowed: false, decision };
      return verdict;
    },
    observer: (event) => {
      const { facts } = event;
      // An upgraded connection goes on by what its request was allowed to do, so that stays under judgement.
      if (facts !== undefined && event.outcome !== 'upgraded') connection.requestEnded(facts);
      const decision = (event.verdict as Partial<JudgedVerdict> | undefined)?.decision;
      if (decision === undefined) {
        notify(options.observer, {
          type: 'request-malformed',
          connection: connection.facts,
          status: event.status,
          problem: event.problem ?? event.outcome,
        });
        return;
      }
      notify(options.observer, {
        type: 'request',
        connection: connection.facts,
        protocol: 'http1',
        decision,
        method: facts?.method,
        path: facts?.path,
        status: event.status,
        durationMs: event.durationMs,
      });
    },
    clock: options.clock,
    logger: options.logger,
    signal: options.signal,
  });
}
