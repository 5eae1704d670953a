/** The readable forms of `mesh status` and `mesh tunnels`, from their JSON. */
import { formatSocketAddress } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import type { AgentStatus } from './agent-introspection.js';
import { table } from './table.js';

/** A session as it comes out of the admin socket: dates are text there. */
export interface TunnelRow {
  readonly side: string;
  readonly peer: string;
  readonly remoteAddress: SocketAddress;
  readonly state: string;
  readonly ageMs: number;
  readonly streams: number;
  readonly streamsTotal: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly peerNotAfter: string | Date;
}

export function formatStatus(status: AgentStatus): string {
  const { certificate, interception, snapshot } = status;
  const lines = [
    `node          ${status.node}`,
    `identity      ${status.spiffeId}`,
    `certificate   valid for ${String(certificate.secondsLeft)} s, until ${certificate.notAfter}` +
      (certificate.renewAt === undefined ? '' : `; renewed at ${certificate.renewAt}`),
    `controller    ${status.controller}`,
    `snapshot      ${snapshot === undefined ? 'none: everything is refused' : `${String(snapshot.sequence)} (${snapshot.hash.slice(0, 12)})`}`,
  ];
  if (interception === undefined) lines.push('interception  none');
  else {
    const { counts } = interception;
    lines.push(
      `interception  ${interception.backend}, ${interception.mode ?? 'no rules yet'}; after an exit traffic is ${interception.failurePolicy === 'closed' ? 'refused' : 'passed in plaintext'}`,
      `  captured    from ${String(counts.pods)} pods to ${String(counts.outbound)} destinations (:${String(interception.outboundPort)}); to ${String(counts.inbound)} pods (:${String(interception.inboundPort)}); ${String(counts.probes)} probe ports open to the host`,
      `  rules       ${interception.inspectCommand}`,
    );
    if (interception.missingInterfaces.length > 0)
      lines.push(`  missing     ${interception.missingInterfaces.join(', ')}`);
    if (interception.lastError !== undefined) lines.push(`  BEHIND      ${interception.lastError}`);
  }
  lines.push(
    `connections   ${String(status.connections.inbound.length)} inbound, ${String(status.connections.outbound)} outbound`,
    '',
    table(
      ['workload', 'service account', 'addresses', 'enrolled', 'plaintext', 'pinned to'],
      status.workloads.map((each) => [
        each.workload,
        each.serviceAccount,
        each.addresses.join(' '),
        each.enrolled ? 'yes' : 'no',
        each.enrolled ? each.mtlsMode : '-',
        each.hostInterface ?? 'NOT PINNED',
      ]),
    ),
  );
  return `${lines.join('\n')}\n`;
}

export function formatTunnels(rows: readonly TunnelRow[]): string {
  if (rows.length === 0) return 'No tunnel sessions.\n';
  const body = rows.map((row) => [
    row.side === 'client' ? 'to' : 'from',
    row.peer,
    formatSocketAddress(row.remoteAddress),
    row.state,
    `${String(Math.round(row.ageMs / 1000))} s`,
    `${String(row.streams)} of ${String(row.streamsTotal)}`,
    `${String(row.sentBytes)} / ${String(row.receivedBytes)}`,
    new Date(row.peerNotAfter).toISOString(),
  ]);
  return `${table(['', 'peer', 'address', 'state', 'age', 'streams', 'bytes sent / received', 'peer certificate until'], body)}\n`;
}
