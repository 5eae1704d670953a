import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/vip`. */
export const vipErrorCodes = defineErrorCodes({
  VIP_CAPABILITY_MISSING: {
    when: 'The kernel refused a socket, an address or an option for lack of a capability.',
    fix: 'Run as root, or grant the capability that the message names (CAP_NET_RAW, CAP_NET_ADMIN or CAP_NET_BIND_SERVICE).',
  },
  VIP_CONFIGURATION_INVALID: {
    when: 'An option or an assignment is malformed, or two of them contradict each other.',
    fix: 'Correct the field that the message names.',
  },
});

export type VipErrorCode = keyof typeof vipErrorCodes;

export class VipError extends MeshwrightError<VipErrorCode> {}
