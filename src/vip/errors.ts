import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/vip`. */
export const vipErrorCodes = defineErrorCodes({
  VIP_BFD_WORKER_FAILED: {
    when: 'The thread that BFD runs in did not start.',
    fix: 'Read the cause; where the program was bundled, leave `meshwright` out of the bundle or pass `worker`.',
  },
  VIP_BFD_WORKER_MISSING: {
    when: 'The file of the BFD thread was not found beside the package, as in a program that was bundled into one file.',
    fix: 'Leave `meshwright` out of the bundle (mark it external), or pass the path of dist/vip/bfd/worker.js as `worker`.',
  },
  VIP_CAPABILITY_MISSING: {
    when: 'The kernel refused a socket, an address or an option for lack of a capability.',
    fix: 'Run as root, or grant the capability that the message names (CAP_NET_RAW, CAP_NET_ADMIN or CAP_NET_BIND_SERVICE).',
  },
  VIP_CONFIGURATION_INVALID: {
    when: 'An option or an assignment is malformed, or two of them contradict each other.',
    fix: 'Correct the field that the message names.',
  },
  VIP_L2_INTERFACE_UNSUITABLE: {
    when: 'Virtual IPs were to be announced on an interface that does not exist here, or that is no Ethernet with ARP.',
    fix: 'Name an Ethernet interface, bridge or bond of the network namespace that the program runs in (`ip link`).',
  },
  VIP_L2_LINK_DOWN: {
    when: 'Whether an address is free could not be found out: the interface is down, away, or takes no packets.',
    fix: 'Bring the interface up and probe again; until then the address must not be claimed.',
  },
});

export type VipErrorCode = keyof typeof vipErrorCodes;

export class VipError extends MeshwrightError<VipErrorCode> {}
