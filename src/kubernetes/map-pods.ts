import { ipFamily } from '../core/index.js';
import type { MeshNode } from '../mesh/index.js';
import { problemAt } from './manifest-object.js';
import type { MappingContext } from './mapping-context.js';
import { readPod } from './pod.js';
import type { RunningPod } from './pod.js';
import type { PodManifest } from './schemas.js';

/**
 * The pods that have a node and an address of their own. An address that two pods have, or a pod and a node, is nobody's:
 * whoever is meant, guessing would be guessing an identity.
 */
export function mapPods(context: MappingContext, nodes: readonly MeshNode[]): readonly RunningPod[] {
  const pods: RunningPod[] = [];
  for (const { object, manifest } of context.all<PodManifest>('Pod')) {
    const pod = readPod(object, manifest);
    if (typeof pod !== 'string') {
      pods.push(pod);
      continue;
    }
    const fix = 'nothing to do: the pod is no workload of the mesh';
    const expected = 'a pod with a node and an IP of its own';
    context.problems.push(problemAt(object, [], { severity: 'info', expected, got: pod, fix }));
  }
  const owners = claims(pods, nodes);
  return pods.flatMap((pod) => {
    const own = pod.addresses.filter((address) => (owners.get(address) ?? []).length === 1);
    for (const address of pod.addresses) {
      const others = (owners.get(address) ?? []).filter((owner) => owner !== podName(pod));
      if (others.length === 0) continue;
      context.problems.push(
        problemAt(pod.object, ['status', ipFamily(address) === 4 ? 'podIP' : 'podIPs'], {
          expected: 'an address that belongs to this pod alone',
          got: `${address}, which ${others.join(' and ')} claims too`,
          fix: 'delete the pod that is gone or correct its address; until then the address is nobody’s and its traffic is refused',
        }),
      );
    }
    warnOfUnknownNode(context, pod, nodes);
    return own.length === 0 ? [] : [{ ...pod, addresses: own }];
  });
}

function claims(pods: readonly RunningPod[], nodes: readonly MeshNode[]): ReadonlyMap<string, readonly string[]> {
  const owners = new Map<string, string[]>();
  const claim = (address: string, owner: string): void => {
    const list = owners.get(address) ?? [];
    if (!list.includes(owner)) list.push(owner);
    owners.set(address, list);
  };
  for (const node of nodes) for (const address of node.addresses) claim(address, `node ${node.name}`);
  for (const pod of pods) for (const address of pod.addresses) claim(address, podName(pod));
  return owners;
}

function warnOfUnknownNode(context: MappingContext, pod: RunningPod, nodes: readonly MeshNode[]): void {
  if (nodes.some((node) => node.name === pod.node)) return;
  context.problems.push(
    problemAt(pod.object, ['spec', 'nodeName'], {
      severity: 'warning',
      expected: 'the name of a Node of the mesh',
      got: pod.node,
      fix: 'add the Node with its InternalIP; until then nothing in the mesh reaches this pod',
    }),
  );
}

function podName(pod: RunningPod): string {
  return `pod ${pod.object.namespace}/${pod.object.name}`;
}
