/** Virtual IPs: one address, one owner (layer 2), or many owners behind a router (BGP with BFD). */
export { VipError, vipErrorCodes } from './errors.js';
export type { VipErrorCode } from './errors.js';
