import { ipBytes, ipFamily } from '../core/index.js';
import type { SocketAddress } from '../core/index.js';
import { AF_INET, AF_INET6 } from '../internal/native/constants.js';
import { NLM_F_DUMP, NetlinkSocket } from '../internal/native/netlink.js';

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const IPPROTO_TCP = 6;
const requestBytes = 56;
const [localPort, localAddress] = [4, 8] as const;

/**
 * States of a connection that a client may still wait for: not yet accepted by the program (SYN_RECV, ESTABLISHED), in use,
 * or closed by the program while the kernel still delivers what it wrote (FIN_WAIT1, CLOSING, LAST_ACK). In FIN_WAIT2 the
 * client has confirmed the last byte.
 */
const states = { established: 1, synReceived: 3, finWait1: 4, closeWait: 8, lastAck: 9, closing: 11 } as const;
const stateMask = Object.values(states).reduce((mask, state) => mask | (1 << state), 0);

/** The kernel's TCP connections in this network namespace, by sock_diag. Needs no capability. */
export class ConnectionTable implements Disposable {
  readonly #socket: NetlinkSocket;

  /** Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`, and what the kernel refuses with. */
  constructor() {
    this.#socket = new NetlinkSocket({ protocol: NETLINK_SOCK_DIAG, feature: 'counting connections to a virtual IP' });
  }

  /** How many connections to `address` have something to deliver, or to accept. Rejects where the kernel has no tcp_diag. */
  async unfinishedAt(address: SocketAddress): Promise<number> {
    const messages = await this.#socket.request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, connectionsRequest(address));
    return messages.filter(({ payload }) => isAt(payload, address)).length;
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** `struct inet_diag_req_v2`. The kernel picks by state and port alone. */
function connectionsRequest({ ip, port }: SocketAddress): Buffer {
  const request = Buffer.alloc(requestBytes);
  request.writeUInt8(ipFamily(ip) === 6 ? AF_INET6 : AF_INET, 0);
  request.writeUInt8(IPPROTO_TCP, 1);
  request.writeUInt32LE(stateMask, 4);
  request.writeUInt16BE(port, 8);
  return request;
}

/** Whether a `struct inet_diag_msg` is of a connection to this address; false for one too short. Exported for tests. */
export function isAt(message: Buffer, { ip, port }: SocketAddress): boolean {
  const bytes = ipBytes(ip);
  if (message.length < localAddress + bytes.length || message.readUInt16BE(localPort) !== port) return false;
  // Of a listener on all addresses.
  if (bytes.every((byte) => byte === 0)) return true;
  return message.subarray(localAddress, localAddress + bytes.length).equals(bytes);
}
