export {
  CoreError,
  MeshwrightError,
  coreErrorCodes,
  defineErrorCodes,
  describeError,
  isMeshwrightError,
} from './errors.js';
export type { CoreErrorCode, ErrorCodeInfo, MeshwrightErrorOptions } from './errors.js';
export { sleep, systemClock } from './clock.js';
export type { Clock, SleepOptions, Timer, TimerOptions } from './clock.js';
export { systemRandom } from './random.js';
export type { Random } from './random.js';
export { silentLogger } from './logger.js';
export type { LogFields, Logger } from './logger.js';
export { noObserver, notify } from './observer.js';
export type { ObservedEvent, Observer } from './observer.js';
export { closeAll } from './lifecycle.js';
export type { Closable, CloseAllOptions } from './lifecycle.js';
export { LatestValueCell, constantValue } from './latest-value.js';
export type { LatestValue } from './latest-value.js';
export { ipBytes, ipFamily, parseIp, tryParseIp } from './ip-address.js';
export type { IpFamily } from './ip-address.js';
export { Cidr } from './cidr.js';
export { formatSocketAddress, parseSocketAddress, socketAddress } from './socket-address.js';
export type { SocketAddress } from './socket-address.js';
export { leaseTtlLimits } from './lease-store.js';
export type {
  AcquireOptions,
  StandByOptions,
  Lease,
  LeaseAcquisition,
  LeaseOwner,
  LeaseRequestOptions,
  LeaseStore,
} from './lease-store.js';
export { MemoryLeaseStore, checkLeaseRequest } from './memory-lease-store.js';
export type { MemoryLeaseStoreOptions } from './memory-lease-store.js';
