import type { NormalPlan } from './interception-plan.js';
import type { InterceptionMarks } from './marks.js';
import type { Topology } from './topology.js';

/** How captured packets reach the listener. */
export type InterceptionMode = 'tproxy' | 'redirect';

/** Everything that the text of the rules depends on. */
export interface RuleInput {
  readonly plan: NormalPlan;
  readonly topology: Topology;
  readonly mode: InterceptionMode;
  readonly marks: InterceptionMarks;
  readonly outboundPort: number;
  readonly inboundPort: number;
}

/** Packets counted by the rules, since they were first applied. Zero where a backend cannot tell. */
export interface InterceptionCounters {
  /** First and later packets handed to the outbound and the inbound listener. */
  readonly capturedOutbound: number;
  readonly capturedInbound: number;
  /** Packets refused because no listener was there. */
  readonly refusedOutbound: number;
  readonly refusedInbound: number;
  /** Packets from this host to enrolled pods: on probe ports, and refused. */
  readonly hostProbes: number;
  readonly hostRefused: number;
  /** Packets to enrolled pods that were translated elsewhere, refused. */
  readonly translatedRefused: number;
  /** Packets that contradicted a pod's pinned addresses, dropped. */
  readonly spoofedDropped: number;
}

export const counterNames = {
  capturedOutbound: 'captured_outbound',
  capturedInbound: 'captured_inbound',
  refusedOutbound: 'refused_outbound',
  refusedInbound: 'refused_inbound',
  hostProbes: 'host_probes',
  hostRefused: 'host_refused',
  translatedRefused: 'translated_refused',
  spoofedDropped: 'spoofed_dropped',
} as const satisfies Record<keyof InterceptionCounters, string>;

/** One way to put rules into the kernel. Calls never overlap. */
export interface RuleBackend {
  readonly name: 'nftables' | 'iptables';
  /** What an operator types to look at the rules. */
  readonly inspectCommand: string;
  /** Whether the kernel has TPROXY for this backend. */
  supportsTproxy(): Promise<boolean>;
  /** Puts the rules in place, all or nothing. Throws a `TproxyError` with the old ones still there. */
  apply(input: RuleInput): Promise<void>;
  /** What of our rules is in the kernel now, in a form that only changes when they do. */
  state(): Promise<readonly string[]>;
  /** The kernel was found to differ from what was applied: the next `apply` must replace everything. */
  forget(): void;
  /** Destinations that rules in the kernel capture now, as `destinationKey`s: whoever put them there. */
  captured(): Promise<ReadonlySet<string>>;
  counters(): Promise<InterceptionCounters>;
  /** Removes everything of ours, and nothing else. */
  clear(): Promise<void>;
}

/** Builds the record from a value for each name. */
export function countersFrom(value: (key: keyof InterceptionCounters) => number): InterceptionCounters {
  return Object.freeze({
    capturedOutbound: value('capturedOutbound'),
    capturedInbound: value('capturedInbound'),
    refusedOutbound: value('refusedOutbound'),
    refusedInbound: value('refusedInbound'),
    hostProbes: value('hostProbes'),
    hostRefused: value('hostRefused'),
    translatedRefused: value('translatedRefused'),
    spoofedDropped: value('spoofedDropped'),
  });
}

export function destinationKey({ ip, port }: { readonly ip: string; readonly port?: number | undefined }): string {
  return `${ip} ${port === undefined ? '*' : String(port)}`;
}
