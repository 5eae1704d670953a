/** What an agent tells its operator over the admin socket: `mesh status` and `mesh tunnels`. */
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import type { SvidSource, X509Svid } from '../spiffe/index.js';
import { toSvidSource } from '../spiffe/index.js';
import type { InterceptionDescription } from '../tproxy/index.js';
import type { TunnelSessionInfo } from '../tunnel/index.js';
import type { ConnectionFacts } from './events.js';
import type { MeshViews } from './mesh-views.js';
import { resourceKey } from './mesh-index.js';
import type { SourcePins } from './outbound/source-pins.js';

/** Plain data, safe to print: no key, no token. */
export interface AgentStatus {
  readonly node: string;
  readonly spiffeId: string;
  readonly certificate: {
    readonly notAfter: string;
    readonly secondsLeft: number;
    readonly renewAt: string | undefined;
  };
  readonly controller: 'connected' | 'disconnected';
  readonly snapshot: { readonly sequence: number; readonly hash: string } | undefined;
  readonly interception: (InterceptionDescription & { readonly lastError: string | undefined }) | undefined;
  readonly workloads: readonly {
    readonly workload: string;
    readonly serviceAccount: string;
    readonly addresses: readonly string[];
    readonly enrolled: boolean;
    readonly mtlsMode: string;
    /** Host-side interface it is pinned to; undefined when it is refused as a source. */
    readonly hostInterface: string | undefined;
  }[];
  readonly connections: { readonly inbound: readonly ConnectionFacts[]; readonly outbound: number };
}

export interface AgentIntrospectionOptions {
  readonly node: string;
  readonly svid: X509Svid | SvidSource;
  readonly views: MeshViews;
  readonly pins: SourcePins;
  readonly renewAt: () => Date | undefined;
  readonly controllerConnected: () => boolean;
  readonly snapshot: () => { readonly sequence: number; readonly hash: string } | undefined;
  readonly interception: () => (InterceptionDescription & { readonly lastError: string | undefined }) | undefined;
  readonly inbound: () => readonly ConnectionFacts[];
  readonly outbound: () => number;
  /** Sessions of the tunnel's both ends. */
  readonly sessions: () => readonly TunnelSessionInfo[];
  readonly clock?: Clock | undefined;
}

export class AgentIntrospection {
  readonly #options: AgentIntrospectionOptions;

  constructor(options: AgentIntrospectionOptions) {
    this.#options = options;
  }

  status(): AgentStatus {
    const options = this.#options;
    const svid = toSvidSource(options.svid).current;
    const now = (options.clock ?? systemClock).now();
    const snapshot = options.snapshot();
    const pinned = options.pins.valid;
    return {
      node: options.node,
      spiffeId: svid.spiffeId.toString(),
      certificate: {
        notAfter: svid.notAfter.toISOString(),
        secondsLeft: Math.round((svid.notAfter.getTime() - now) / 1000),
        renewAt: options.renewAt()?.toISOString(),
      },
      controller: options.controllerConnected() ? 'connected' : 'disconnected',
      snapshot: snapshot === undefined ? undefined : { sequence: snapshot.sequence, hash: snapshot.hash },
      interception: options.interception(),
      workloads: (options.views.current?.index.localWorkloads ?? []).map((workload) => ({
        workload: resourceKey(workload),
        serviceAccount: workload.serviceAccount,
        addresses: workload.addresses,
        enrolled: workload.enrolled,
        mtlsMode: workload.mtlsMode,
        hostInterface: pinned.get(resourceKey(workload))?.name,
      })),
      connections: { inbound: options.inbound(), outbound: options.outbound() },
    };
  }

  tunnels(): readonly TunnelSessionInfo[] {
    return this.#options.sessions();
  }
}
