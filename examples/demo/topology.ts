/** The demo's machines and pods. The manifests in `manifests/` say the same to the controller. */

export interface NodeSpec {
  readonly name: string;
  readonly address: string;
  /** The pods' addresses on this node. */
  readonly podCidr: string;
}

export interface PodSpec {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly address: string;
  /** What runs in it: an HTTP server, a gateway to backend-api, a raw TCP echo server, or nothing (a client). */
  readonly app: 'http' | 'gateway' | 'tcp' | 'none';
  /** Ports of the app; an HTTP server answers on each. */
  readonly ports: readonly number[];
}

export interface ServiceSpec {
  readonly name: string;
  readonly clusterIp: string;
  readonly port: number;
  readonly endpoints: readonly string[];
  /** Port of every node that has an endpoint, which leads to that endpoint. */
  readonly nodePort?: number;
}

export const controllerAddress = '172.30.0.10';
export const controllerPort = 15010;
export const tunnelPort = 15002;

export const nodes: readonly NodeSpec[] = [
  { name: 'node-a', address: '172.30.0.11', podCidr: '10.244.1.0/24' },
  { name: 'node-b', address: '172.30.0.12', podCidr: '10.244.2.0/24' },
  { name: 'untrusted-1', address: '172.30.0.13', podCidr: '10.244.3.0/24' },
];

/** A machine on the same network that has no agent. Its second address is one that a pool of virtual IPs has too. */
export const outsider = { name: 'outsider', address: '172.30.0.99', second: '172.30.0.51' } as const;

/** A virtual IP for clients outside the mesh: on node-a or node-b, whichever owns it, and leading to the gateway pod there. */
export const vip = { name: 'edge', address: '172.30.0.50', nodes: ['node-a', 'node-b'] } as const;

/** Two more, which lead nowhere and have their addresses out of a pool: the first one is the outsider's already. */
export const pooledVips = { names: ['pooled-1', 'pooled-2'], addresses: [outsider.second, '172.30.0.52'] } as const;

export const pods: readonly PodSpec[] = [
  { name: 'web-frontend', namespace: 'frontend', node: 'node-a', address: '10.244.1.10', app: 'none', ports: [] },
  {
    name: 'rogue-client',
    namespace: 'unauthorized-ns',
    node: 'node-a',
    address: '10.244.1.66',
    app: 'none',
    ports: [],
  },
  { name: 'order-processor', namespace: 'production', node: 'node-b', address: '10.244.2.30', app: 'none', ports: [] },
  { name: 'prometheus', namespace: 'monitoring', node: 'node-b', address: '10.244.2.80', app: 'none', ports: [] },
  { name: 'batch-runner', namespace: 'batch', node: 'untrusted-1', address: '10.244.3.60', app: 'none', ports: [] },
  {
    name: 'backend-api-0',
    namespace: 'production',
    node: 'node-a',
    address: '10.244.1.20',
    app: 'http',
    ports: [8080, 8086],
  },
  {
    name: 'backend-api-1',
    namespace: 'production',
    node: 'node-b',
    address: '10.244.2.20',
    app: 'http',
    ports: [8080, 8086],
  },
  {
    name: 'payment-service-0',
    namespace: 'production',
    node: 'node-a',
    address: '10.244.1.40',
    app: 'http',
    ports: [8080],
  },
  {
    name: 'secrets-vault-0',
    namespace: 'production',
    node: 'node-b',
    address: '10.244.2.50',
    app: 'http',
    ports: [8080],
  },
  {
    name: 'legacy-open-0',
    namespace: 'production',
    node: 'node-b',
    address: '10.244.2.60',
    app: 'http',
    ports: [8080],
  },
  {
    name: 'legacy-guarded-0',
    namespace: 'production',
    node: 'node-b',
    address: '10.244.2.61',
    app: 'http',
    ports: [8080],
  },
  { name: 'gateway-0', namespace: 'edge', node: 'node-a', address: '10.244.1.90', app: 'gateway', ports: [8080] },
  { name: 'gateway-1', namespace: 'edge', node: 'node-b', address: '10.244.2.90', app: 'gateway', ports: [8080] },
  { name: 'journal-0', namespace: 'production', node: 'node-b', address: '10.244.2.71', app: 'tcp', ports: [7000] },
  { name: 'ledger-0', namespace: 'production', node: 'node-b', address: '10.244.2.70', app: 'tcp', ports: [7000] },
];

export const services: readonly ServiceSpec[] = [
  {
    name: 'backend-api',
    clusterIp: '10.96.10.10',
    port: 8080,
    endpoints: ['10.244.1.20:8080', '10.244.2.20:8080'],
    nodePort: 30080,
  },
  { name: 'payment-service', clusterIp: '10.96.10.40', port: 8080, endpoints: ['10.244.1.40:8080'] },
  { name: 'secrets-vault', clusterIp: '10.96.10.50', port: 8080, endpoints: ['10.244.2.50:8080'] },
  { name: 'legacy-open', clusterIp: '10.96.10.60', port: 8080, endpoints: ['10.244.2.60:8080'] },
  { name: 'legacy-guarded', clusterIp: '10.96.10.61', port: 8080, endpoints: ['10.244.2.61:8080'] },
  { name: 'journal', clusterIp: '10.96.10.71', port: 7000, endpoints: ['10.244.2.71:7000'] },
  { name: 'ledger', clusterIp: '10.96.10.70', port: 7000, endpoints: ['10.244.2.70:7000'] },
];

/** `ip:port`. */
export function clusterAddress(service: string): string {
  const found = services.find(({ name }) => name === service);
  if (found === undefined) throw new Error(`no service ${service}`);
  return `${found.clusterIp}:${String(found.port)}`;
}

export function clusterUrl(service: string, path: string): string {
  return `http://${clusterAddress(service)}${path}`;
}

export function podNamed(name: string): PodSpec {
  const found = pods.find((pod) => pod.name === name);
  if (found === undefined) throw new Error(`no pod ${name}`);
  return found;
}

export function nodeNamed(name: string): NodeSpec {
  const found = nodes.find((node) => node.name === name);
  if (found === undefined) throw new Error(`no node ${name}`);
  return found;
}
