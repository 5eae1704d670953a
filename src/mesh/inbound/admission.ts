/**
 * What is asked, and may they: the pure, synchronous heart of the inbound end. One view in, one answer out; the same
 * code for tunnels, for this node's own pods, and for plaintext.
 */
import type { AuthzRequest, Decision } from '../../authz/index.js';
import type { SocketAddress } from '../../core/index.js';
import type { AuthenticatedSource } from '../authenticated-source.js';
import type { MeshView } from '../mesh-view.js';
import { resourceKey } from '../mesh-index.js';
import type { Workload } from '../resources.js';
import type { RefusalReason } from '../refusal.js';

export type Admission =
  | {
      readonly admitted: true;
      /** `needs-http`: every HTTP request must be judged on its own. */
      readonly verdict: 'allow' | 'needs-http';
      readonly workload: Workload;
      readonly services: readonly string[];
      /** What the engine was asked; add `http` to judge a request. */
      readonly request: AuthzRequest;
      readonly decision: Decision;
    }
  | {
      readonly admitted: false;
      readonly reason: RefusalReason;
      readonly detail: string;
      readonly workload?: Workload | undefined;
      readonly services?: readonly string[] | undefined;
      readonly decision?: Decision | undefined;
    };

export interface AdmitOptions {
  /**
   * The connection is open already. A workload that is not ready gets no new ones, but keeps those it has: it is how a pod
   * that is being stopped finishes its work.
   */
  readonly established?: boolean | undefined;
}

/** Judges a connection by `view` alone. `ownPorts` are the agent's listeners, never a destination. */
export function admit(
  view: MeshView,
  source: AuthenticatedSource,
  destination: SocketAddress,
  ownPorts: ReadonlySet<number>,
  options: AdmitOptions = {},
): Admission {
  const { index, engine } = view;
  if (ownPorts.has(destination.port))
    return refused('illegal-port', `port ${String(destination.port)} is the agent's own`);

  const workload = index.workloadAt(destination.ip);
  if (workload === undefined || workload.node !== index.node) {
    return refused('authority-not-local', `${destination.ip} is not a workload of node ${index.node}`);
  }
  if (!workload.enrolled)
    return refused('authority-not-enrolled', `${resourceKey(workload)} is not enrolled`, workload);
  if (source.via === 'none' && workload.mtlsMode === 'STRICT') {
    return refused('plaintext-strict', `${resourceKey(workload)} takes no plaintext`, workload);
  }
  if (!workload.ready && options.established !== true) {
    return refused('authority-not-ready', `${resourceKey(workload)} is not ready`, workload);
  }
  if (source.node !== undefined && index.nodeNamed(source.node) === undefined) {
    return refused('peer-node-unknown', `node ${source.node} is not in the snapshot`, workload);
  }

  const services = index.servicesOf(destination.ip, destination.port);
  const unreadable = index.deniedReason(workload.namespace, services);
  if (unreadable !== undefined) return { ...refused('policy-unreadable', unreadable, workload), services };

  const request: AuthzRequest = {
    source: {
      ...(source.principal === undefined ? {} : { principal: source.principal.toString() }),
      ...(source.node === undefined ? {} : { node: `spiffe://${index.state.trustDomain}/agent/${source.node}` }),
      ...(source.address === undefined ? {} : { ip: source.address }),
    },
    destination: {
      namespace: workload.namespace,
      services,
      workload: workload.name,
      labels: workload.labels,
      ip: destination.ip,
      port: destination.port,
    },
  };
  const { verdict, decision } = engine.authorizeConnection(request);
  if (verdict === 'allow' || verdict === 'needs-http') {
    return { admitted: true, verdict, workload, services, request, decision };
  }
  return { admitted: false, reason: 'denied-by-policy', detail: decision.reason, workload, services, decision };
}

function refused(reason: RefusalReason, detail: string, workload?: Workload): Extract<Admission, { admitted: false }> {
  return { admitted: false, reason, detail, workload };
}
