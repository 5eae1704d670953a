/**
 * One admitted connection at the destination, from its admission to its end.
 *
 * pending -> opaque | http -> closed, and pending -> closed. It is registered before the workload is dialled, so a
 * snapshot that comes in between is not missed. A newer snapshot is applied by `reconsider`:
 * - opaque bytes must still be allowed as opaque bytes;
 * - in HTTP the requests under way must still be allowed; later ones are judged by the newest view anyway. A request that
 *   turned the connection into something else (WebSocket) is under way until the end.
 */
import type { HttpRequestFacts } from '../../traffic/index.js';
import type { Decision } from '../../authz/index.js';
import type { SocketAddress } from '../../core/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import type { ConnectionFacts } from '../events.js';
import type { MeshView } from '../mesh-view.js';
import { resourceKey } from '../mesh-index.js';
import type { RefusalReason } from '../refusal.js';
import { admit } from './admission.js';
import type { Admission } from './admission.js';

export type Admitted = Extract<Admission, { admitted: true }>;

/** Why a live connection ended early. */
export class ConnectionRevoked extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, detail: string) {
    super(detail);
    this.name = 'ConnectionRevoked';
    this.reason = reason;
  }
}

export class LiveConnection {
  readonly source: AuthenticatedSource;
  readonly destination: SocketAddress;
  readonly facts: ConnectionFacts;
  #mode: 'pending' | 'opaque' | 'http' | 'closed' = 'pending';
  #admission: Admitted;
  readonly #ownPorts: ReadonlySet<number>;
  readonly #abort = new AbortController();
  readonly #requests = new Set<HttpRequestFacts>();

  constructor(options: {
    readonly source: AuthenticatedSource;
    readonly destination: SocketAddress;
    readonly facts: ConnectionFacts;
    readonly admission: Admitted;
    readonly ownPorts: ReadonlySet<number>;
  }) {
    this.source = options.source;
    this.destination = options.destination;
    this.facts = options.facts;
    this.#admission = options.admission;
    this.#ownPorts = options.ownPorts;
  }

  get mode(): 'pending' | 'opaque' | 'http' | 'closed' {
    return this.#mode;
  }

  get admission(): Admitted {
    return this.#admission;
  }

  /** Aborts when the connection must end; the reason is a `ConnectionRevoked`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** From now on the bytes are passed on unread, or every HTTP request is judged. */
  open(mode: 'opaque' | 'http'): void {
    if (this.#mode === 'pending') this.#mode = mode;
  }

  /** Judges one HTTP request by the newest view and remembers it as under way until `requestEnded`. */
  judge(view: MeshView, request: HttpRequestFacts): Decision {
    const decision = view.engine.authorize({ ...this.#admission.request, http: toHttp(request) });
    if (decision.allowed) this.#requests.add(request);
    return decision;
  }

  requestEnded(request: HttpRequestFacts): void {
    this.#requests.delete(request);
  }

  /** Judges the connection as opaque bytes: an HTTP rule is never satisfied, a DENY never escaped. */
  judgeOpaque(view: MeshView): Decision {
    return view.engine.authorize(this.#admission.request);
  }

  /** Applies a newer view; revokes the connection when it is no longer allowed. */
  reconsider(view: MeshView): void {
    if (this.#mode === 'closed') return;
    const before = resourceKey(this.#admission.workload);
    const next = admit(view, this.source, this.destination, this.#ownPorts, { established: this.#mode !== 'pending' });
    if (!next.admitted) {
      this.revoke(next.workload === undefined ? 'destination-gone' : revocationOf(next.reason), next.detail);
      return;
    }
    if (resourceKey(next.workload) !== before) {
      this.revoke('destination-gone', `${this.facts.destination} now belongs to ${resourceKey(next.workload)}`);
      return;
    }
    this.#admission = next;
    if (this.#mode === 'opaque' && next.verdict === 'needs-http') {
      const decision = this.judgeOpaque(view);
      if (!decision.allowed) this.revoke('policy-changed', decision.reason);
    }
    if (this.#mode === 'http') {
      for (const request of this.#requests) {
        const decision = view.engine.authorize({ ...next.request, http: toHttp(request) });
        if (!decision.allowed) this.revoke('policy-changed', decision.reason);
      }
    }
  }

  revoke(reason: RefusalReason, detail: string): void {
    if (this.#mode === 'closed') return;
    this.#abort.abort(new ConnectionRevoked(reason, detail));
  }

  closed(): void {
    this.#mode = 'closed';
    this.#requests.clear();
  }
}

function revocationOf(reason: RefusalReason): RefusalReason {
  return reason === 'denied-by-policy' || reason === 'policy-unreadable' ? 'policy-changed' : reason;
}

function toHttp(request: HttpRequestFacts): {
  method: string;
  path: string;
  host?: string;
  headers: Record<string, string | string[]>;
} {
  return {
    method: request.method,
    path: request.path,
    ...(request.host === undefined ? {} : { host: request.host }),
    headers: { ...request.headers },
  };
}
