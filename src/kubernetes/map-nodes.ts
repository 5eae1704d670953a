import { tryParseIp } from '../core/index.js';
import type { MeshNode } from '../mesh/index.js';
import { tunnelPortAnnotation } from './annotations.js';
import { problemAt } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { MappingContext } from './mapping-context.js';
import type { NodeManifest } from './schemas.js';

const defaultTunnelPort = 15002;

/** `status.addresses` of type InternalIP; one without any is left out, since nothing could dial it. */
export function mapNodes(context: MappingContext): readonly MeshNode[] {
  const nodes: MeshNode[] = [];
  const owners = new Map<string, string>();
  for (const { object, manifest } of context.all<NodeManifest>('Node')) {
    const addresses: string[] = [];
    (manifest.status?.addresses ?? []).forEach(({ type, address }, index) => {
      if (type !== 'InternalIP') return;
      const ip = tryParseIp(address);
      const path = ['status', 'addresses', index, 'address'];
      const fix = 'correct the address; until then it is not used';
      if (ip === undefined) {
        context.problems.push(problemAt(object, path, { expected: 'an IP address', got: showValue(address), fix }));
        return;
      }
      const owner = owners.get(ip);
      if (owner !== undefined && owner !== object.name) {
        const got = `${ip}, which node ${owner} has`;
        context.problems.push(problemAt(object, path, { expected: 'an address of this node alone', got, fix }));
        return;
      }
      owners.set(ip, object.name);
      if (!addresses.includes(ip)) addresses.push(ip);
    });
    if (addresses.length === 0) {
      context.problems.push(
        problemAt(object, ['status', 'addresses'], {
          expected: 'at least one address of type InternalIP',
          got: 'none',
          fix: 'add the IP at which other nodes reach this one; until then the node is left out',
        }),
      );
      continue;
    }
    const tunnelPort = readTunnelPort(manifest.metadata.annotations?.[tunnelPortAnnotation]);
    if (tunnelPort === undefined) {
      context.problems.push(
        problemAt(object, ['metadata', 'annotations', tunnelPortAnnotation], {
          expected: 'a port from 1 to 65535 in quotes',
          got: showValue(manifest.metadata.annotations?.[tunnelPortAnnotation]),
          fix: `correct the port; until then it counts as ${String(defaultTunnelPort)}`,
        }),
      );
    }
    nodes.push({ name: object.name, addresses, tunnelPort: tunnelPort ?? defaultTunnelPort });
  }
  return nodes;
}

function readTunnelPort(text: string | undefined): number | undefined {
  if (text === undefined) return defaultTunnelPort;
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}
