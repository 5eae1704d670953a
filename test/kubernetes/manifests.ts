/** A small mesh as manifests, for the tests of this folder. */
import { parseManifests, toMeshState } from '../../src/kubernetes/index.js';
import type { MappedState, ToMeshStateOptions } from '../../src/kubernetes/index.js';

export const nodes = `
apiVersion: v1
kind: Node
metadata: { name: node-a }
status: { addresses: [{ type: InternalIP, address: 192.0.2.1 }, { type: Hostname, address: node-a }] }
---
apiVersion: v1
kind: Node
metadata: { name: node-b, annotations: { novaedge.io/mesh-tunnel-port: "25002" } }
status: { addresses: [{ type: InternalIP, address: 192.0.2.2 }, { type: InternalIP, address: "2001:DB8::2" }] }
---
`;

export interface PodParts {
  readonly namespace?: string;
  readonly node?: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly spec?: Record<string, unknown>;
  readonly status?: Record<string, unknown>;
  readonly metadata?: Record<string, unknown>;
}

/** One Pod document. */
export function pod(name: string, ip: string, parts: PodParts = {}): string {
  const { namespace = 'shop', node = 'node-a', labels = {}, annotations = {} } = parts;
  return document({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations, ...parts.metadata },
    spec: { nodeName: node, serviceAccountName: name, ...parts.spec },
    status: { podIP: ip, ...parts.status },
  });
}

/** One Service document. */
export function service(
  name: string,
  spec: Record<string, unknown>,
  annotations: Record<string, string> = { 'novaedge.io/mesh': 'enabled' },
  namespace = 'shop',
): string {
  return document({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, annotations }, spec });
}

/** One MeshAuthorization policy document. */
export function policy(name: string, target: string, rules: unknown = [{}], namespace = 'shop'): string {
  return document({
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name, namespace },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: target },
      meshAuthorization: { action: 'ALLOW', rules },
    },
  });
}

/** Any object as a YAML document (JSON is YAML). */
export function document(value: unknown): string {
  return `${JSON.stringify(value, null, 1)}\n---\n`;
}

/** Parses and maps `text` in one step. */
export function map(text: string, options: Partial<ToMeshStateOptions> = {}): MappedState {
  const { objects, broken, problems } = parseManifests(text, { file: 'test.yaml' });
  const mapped = toMeshState(objects, { trustDomain: 'cluster.local', broken, ...options });
  return { ...mapped, problems: [...problems, ...mapped.problems] };
}
