import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/tproxy`. */
export const tproxyErrorCodes = defineErrorCodes({
  TPROXY_CAPABILITY_MISSING: {
    when: 'The kernel refused a transparent socket, a packet mark or a rule for lack of a capability.',
    fix: 'Run as root, or grant the capability that the message names (CAP_NET_ADMIN; for sockets CAP_NET_RAW is enough).',
  },
  TPROXY_LISTEN_FAILED: {
    when: 'A listener could not be bound.',
    fix: 'Free the port (is another agent running?) or choose another; the message has the reason.',
  },
  TPROXY_DIAL_FAILED: {
    when: 'A connection to a destination could not be made: refused, unreachable, timed out or aborted.',
    fix: 'See the cause: is the destination up, and is there a route?',
  },
  TPROXY_BACKEND_UNAVAILABLE: {
    when: 'Neither nft nor iptables works here, or the one that was asked for does not.',
    fix: 'Install nftables or iptables (and iproute2), run as root, and see the message for what was tried.',
  },
  TPROXY_BACKEND_CONFLICT: {
    when: 'The chosen backend cannot win over the address translation that is in place, such as iptables against an nft kube-proxy.',
    fix: 'Use `backend: "nftables"`, which wins over kube-proxy in every form.',
  },
  TPROXY_MODE_UNAVAILABLE: {
    when: 'TPROXY was asked for by name, and cannot work here.',
    fix: 'Use `mode: "auto"` or `"redirect"`, or remove the obstacle that the message names.',
  },
  TPROXY_PINNING_UNAVAILABLE: {
    when: 'The addresses of the pods cannot be tied to their interfaces with the tools at hand.',
    fix: 'Install nftables: pods on a bridge can only be pinned in the netdev family.',
  },
  TPROXY_PLAN_INVALID: {
    when: 'An interception plan has a malformed address, port or interface name.',
    fix: 'Correct the entry that the message names.',
  },
  TPROXY_APPLY_FAILED: {
    when: 'The kernel or a tool refused the rules; those that were there before are unchanged.',
    fix: 'Read the tool’s output in the message.',
  },
});

export type TproxyErrorCode = keyof typeof tproxyErrorCodes;

export class TproxyError extends MeshwrightError<TproxyErrorCode> {}
