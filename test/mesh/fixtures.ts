/** A small mesh state for unit tests: two nodes, a client, an enrolled service with an endpoint on each node. */
import { parseMeshState } from '../../src/mesh/index.js';
import type { MeshState, MeshStateInput } from '../../src/mesh/index.js';

export function meshStateInput(changes: Partial<MeshStateInput> = {}): MeshStateInput {
  return {
    trustDomain: 'cluster.local',
    nodes: [
      { name: 'node-a', addresses: ['172.30.0.11'] },
      { name: 'node-b', addresses: ['172.30.0.12'], tunnelPort: 15012 },
    ],
    workloads: [
      {
        namespace: 'frontend',
        name: 'web',
        node: 'node-a',
        serviceAccount: 'web',
        addresses: ['10.244.1.5'],
        enrolled: false,
        labels: { app: 'web' },
      },
      {
        namespace: 'production',
        name: 'api-1',
        node: 'node-a',
        serviceAccount: 'api',
        addresses: ['10.244.1.6', 'fd00:1::6'],
        enrolled: true,
        probePorts: [9000],
      },
      {
        namespace: 'production',
        name: 'api-2',
        node: 'node-b',
        serviceAccount: 'api',
        addresses: ['10.244.2.6'],
        enrolled: true,
        labels: { app: 'api' },
        probePorts: [9000],
        mtlsMode: 'PERMISSIVE',
      },
    ],
    services: [
      {
        namespace: 'production',
        name: 'api',
        clusterIps: ['10.96.0.10'],
        enrolled: true,
        ports: [
          {
            port: 80,
            endpoints: [
              { address: '10.244.1.6', port: 8080, workload: 'production/api-1', node: 'node-a' },
              { address: '10.244.2.6', port: 8080, workload: 'production/api-2', node: 'node-b' },
            ],
          },
        ],
      },
    ],
    policies: [],
    ...changes,
  };
}

export function meshState(changes: Partial<MeshStateInput> = {}): MeshState {
  return parseMeshState(meshStateInput(changes));
}
