import type { InterceptionPlan } from '../tproxy/index.js';
import { meshServices, resourceKey } from './mesh-index.js';
import type { MeshIndex } from './mesh-index.js';
import type { HostInterface } from './outbound/source-pins.js';

/**
 * What the kernel has to capture on this node, from its snapshot and the pods' host-side interfaces (`namespace/name` ->
 * interface). A local pod whose interface is unknown is captured nowhere as a source, and is not pinned; as a
 * destination it is protected all the same.
 *
 * - from pods: the ClusterIPs and ports of the mesh's services, and every port of enrolled pods;
 * - to local enrolled pods from anywhere else: the inbound listener;
 * - from the host itself to local enrolled pods: by the `hostTraffic` setting.
 */
export function interceptionPlan(index: MeshIndex, interfaces: ReadonlyMap<string, HostInterface>): InterceptionPlan {
  const { state, localWorkloads } = index;
  const pods = localWorkloads.flatMap((workload) => {
    const hostInterface = interfaces.get(resourceKey(workload));
    return hostInterface === undefined ? [] : [{ hostInterface: hostInterface.name, addresses: workload.addresses }];
  });
  const services = meshServices(state).flatMap((service) =>
    service.ports
      .filter((port) => port.protocol === 'TCP')
      .flatMap((port) => service.clusterIps.map((ip) => ({ ip, port: port.port }))),
  );
  const enrolled = state.workloads.filter((workload) => workload.enrolled);
  const local = localWorkloads.filter((workload) => workload.enrolled);
  return {
    pods,
    outbound: [...services, ...enrolled.flatMap((workload) => workload.addresses.map((ip) => ({ ip })))],
    inbound: local.flatMap((workload) => workload.addresses.map((ip) => ({ ip }))),
    host: {
      mode: state.settings.hostTraffic,
      probes: local.flatMap((workload) =>
        workload.addresses.flatMap((ip) => workload.probePorts.map((port) => ({ ip, port }))),
      ),
    },
  };
}
