/**
 * The demo's machines: a network namespace for each node and pod, joined by veth and routed, with the nat rules that
 * kube-proxy would have made. Nothing in here knows of the mesh.
 */
import { NetnsLab } from 'meshwright/testing';
import type { NetNamespace } from 'meshwright/testing';
import { controllerAddress, nodes, outsider, pods, services } from './topology.js';
import type { NodeSpec } from './topology.js';

export interface Fabric {
  readonly controller: NetNamespace;
  readonly outsider: NetNamespace;
  readonly switch: NetNamespace;
  node(name: string): NetNamespace;
  pod(name: string): NetNamespace;
  /** Of a pod, seen from its node. */
  hostInterface(pod: string): string;
  /** Of a node, seen from the switch. */
  switchPort(node: string): string;
  /** Kills every process in the namespaces and removes them. */
  close(): void;
}

/** The pods' default gateway, on every node alike (link-local, as with routed container networks). */
const podGateway = '169.254.1.1';

export async function buildFabric(): Promise<Fabric> {
  const lab = await NetnsLab.create();
  try {
    const network = await lab.namespace('switch');
    await network.bridge('br0');
    const machines = new Map<string, NetNamespace>();
    const ports = new Map<string, string>();
    const addMachine = async (name: string, ips: readonly string[], forwarding: boolean): Promise<NetNamespace> => {
      const machine = await lab.namespace(name, { forwarding });
      const port = `p${String(machines.size)}`;
      await lab.link(
        { namespace: machine, device: 'eth0', addresses: ips.map((ip) => `${ip}/24`) },
        { namespace: network, device: port, bridge: 'br0' },
      );
      machines.set(name, machine);
      ports.set(name, port);
      return machine;
    };
    const controller = await addMachine('controller', [controllerAddress], false);
    const outside = await addMachine(outsider.name, [outsider.address, outsider.second], false);
    for (const node of nodes) await addMachine(node.name, [node.address], true);
    const machine = (name: string): NetNamespace => {
      const found = machines.get(name);
      if (found === undefined) throw new Error(`no machine ${name}`);
      return found;
    };
    for (const node of nodes) {
      for (const other of nodes) {
        if (other !== node) await machine(node.name).route(other.podCidr, { via: other.address });
      }
      await outside.route(node.podCidr, { via: node.address });
    }
    const podSpaces = new Map<string, NetNamespace>();
    for (const [index, pod] of pods.entries()) {
      const node = machine(pod.node);
      const space = await lab.namespace(pod.name);
      await lab.link(
        { namespace: node, device: `pod${String(index)}`, addresses: [`${podGateway}/32`] },
        { namespace: space, device: 'eth0', addresses: [`${pod.address}/32`] },
      );
      await node.route(`${pod.address}/32`, { device: `pod${String(index)}` });
      await space.route(`${podGateway}/32`, { device: 'eth0' });
      await space.route('default', { via: podGateway });
      podSpaces.set(pod.name, space);
    }
    await Promise.all(nodes.map((node) => installKubeProxyRules(machine(node.name), node)));
    return {
      controller,
      outsider: outside,
      switch: network,
      node: machine,
      pod(name) {
        const found = podSpaces.get(name);
        if (found === undefined) throw new Error(`no pod ${name}`);
        return found;
      },
      hostInterface: (pod) => `pod${String(pods.findIndex(({ name }) => name === pod))}`,
      switchPort: (node) => ports.get(node) ?? '',
      close: () => lab.destroy(),
    };
  } catch (error) {
    lab.destroy();
    throw error;
  }
}

/** What kube-proxy does in iptables mode: ClusterIP:port and node:nodePort -> an endpoint, for pods, others and the node itself. */
async function installKubeProxyRules(machine: NetNamespace, node: NodeSpec): Promise<void> {
  const rules = services.flatMap(({ clusterIp, port, endpoints }) =>
    endpoints.map((endpoint, index) => {
      const left = endpoints.length - index;
      const chance = left > 1 ? `-m statistic --mode random --probability ${(1 / left).toFixed(5)} ` : '';
      return `-A KUBE-SERVICES -d ${clusterIp}/32 -p tcp --dport ${String(port)} ${chance}-j DNAT --to-destination ${endpoint}`;
    }),
  );
  const nodePorts = services.flatMap(({ nodePort, endpoints }) => {
    const local = endpoints.find((endpoint) =>
      pods.some((pod) => pod.node === node.name && endpoint.startsWith(`${pod.address}:`)),
    );
    return nodePort === undefined || local === undefined
      ? []
      : [`-A KUBE-SERVICES -d ${node.address}/32 -p tcp --dport ${String(nodePort)} -j DNAT --to-destination ${local}`];
  });
  const table = [
    '*nat',
    ':KUBE-SERVICES - [0:0]',
    '-A PREROUTING -j KUBE-SERVICES',
    '-A OUTPUT -j KUBE-SERVICES',
    ...rules,
    ...nodePorts,
    'COMMIT',
    '',
  ].join('\n');
  await machine.exec('iptables-restore', ['--noflush'], { input: table });
}
