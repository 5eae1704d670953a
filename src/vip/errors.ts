import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/vip`. */
export const vipErrorCodes = defineErrorCodes({
  VIP_ADDRESS_FOREIGN: {
    when: 'The address of a VIP is on the device already, and was not put there by this program.',
    fix: 'Remove it from the device (`ip address del`), or give the VIP another address; it is tried again by itself.',
  },
  VIP_ADDRESS_REFUSED: {
    when: 'The kernel refused to put an address on a device, or to take it away.',
    fix: 'See the errno in the message; IPv6 may be switched off on the device (`net.ipv6.conf.<device>.disable_ipv6`).',
  },
  VIP_BFD_WORKER_FAILED: {
    when: 'The thread that BFD runs in did not start.',
    fix: 'Read the cause; where the program was bundled, leave `meshwright` out of the bundle or pass `worker`.',
  },
  VIP_BFD_WORKER_MISSING: {
    when: 'The file of the BFD thread was not found beside the package, as in a program that was bundled into one file.',
    fix: 'Leave `meshwright` out of the bundle (mark it external), or pass the path of dist/vip/bfd/worker.js as `worker`.',
  },
  VIP_BGP_CONNECT_FAILED: {
    when: 'A TCP connection to a BGP peer could not be made: it was refused, or there is no way to it.',
    fix: 'Check the address and port of the peer, that BGP runs there with this speaker as neighbour, and the route to it.',
  },
  VIP_BGP_CONNECT_TIMEOUT: {
    when: 'A BGP peer did not answer the TCP connection at all.',
    fix: 'Check the password and the TTL security of both sides, which the kernel enforces without a word, then the path and firewalls.',
  },
  VIP_BGP_CONNECTION_LOST: {
    when: 'The TCP connection to a BGP peer ended without a NOTIFICATION.',
    fix: 'Look at the log of the peer: it may not know this speaker, expect another address of it, or have crashed.',
  },
  VIP_BGP_HOLD_TIMER_EXPIRED: {
    when: 'Nothing came from a BGP peer for the negotiated hold time.',
    fix: 'Check the path to the peer and its load; a shorter hold time or BFD only makes this quicker to notice.',
  },
  VIP_BGP_LISTEN_FAILED: {
    when: 'The BGP port could not be listened on.',
    fix: 'Stop the other BGP speaker of this host, choose other hosts or another port, or leave out `listen` and only dial.',
  },
  VIP_BGP_NOTIFICATION_RECEIVED: {
    when: 'A BGP peer ended the session and said why.',
    fix: 'Follow the reason in the message; the log of the peer says more.',
  },
  VIP_BGP_OPEN_REFUSED: {
    when: 'A BGP peer introduced itself with something that this speaker cannot accept, such as its hold time or address families.',
    fix: 'Change the setting that the message names, on either side.',
  },
  VIP_BGP_PEER_AS_MISMATCH: {
    when: 'A BGP peer is of another AS than was configured.',
    fix: 'Correct `remoteAs` of the peer here, or the local AS there.',
  },
  VIP_BGP_PEER_DOWN: {
    when: 'The session was ended from within: BFD declared the peer down, or its configuration changed.',
    fix: 'None is needed after a change of configuration; for BFD look at the path to the peer.',
  },
  VIP_BGP_PREFIX_LIMIT: {
    when: 'A BGP peer announced more networks than its `maxPrefixes`.',
    fix: 'Export nothing to this speaker on the peer (it needs no routes), or raise the limit.',
  },
  VIP_BGP_PROTOCOL_ERROR: {
    when: 'A BGP peer sent a message that breaks the protocol.',
    fix: 'Report it to the maker of the peer; the NOTIFICATION that it got names the rule.',
  },
  VIP_CAPABILITY_MISSING: {
    when: 'The kernel refused a socket, an address or an option for lack of a capability.',
    fix: 'Run as root, or grant the capability that the message names (CAP_NET_RAW, CAP_NET_ADMIN or CAP_NET_BIND_SERVICE).',
  },
  VIP_CONFIGURATION_INVALID: {
    when: 'An option or an assignment is malformed, or two of them contradict each other.',
    fix: 'Correct the field that the message names.',
  },
  VIP_DEVICE_MISSING: {
    when: 'The device that an address should stand on is not there.',
    fix: 'Correct the name of the device, or make it; it is tried again by itself.',
  },
  VIP_L2_INTERFACE_UNSUITABLE: {
    when: 'Virtual IPs were to be announced on an interface that does not exist here, or that is no Ethernet with ARP.',
    fix: 'Name an Ethernet interface, bridge or bond of the network namespace that the program runs in (`ip link`).',
  },
  VIP_L2_LINK_DOWN: {
    when: 'Whether an address is free could not be found out: the interface is down, away, or takes no packets.',
    fix: 'Bring the interface up and probe again; until then the address must not be claimed.',
  },
  VIP_LISTEN_FAILED: {
    when: 'A port of a virtual IP could not be listened on.',
    fix: 'Free the port (does another program listen on all addresses?), or grant CAP_NET_BIND_SERVICE for one below 1024.',
  },
});

export type VipErrorCode = keyof typeof vipErrorCodes;

export class VipError extends MeshwrightError<VipErrorCode> {}
