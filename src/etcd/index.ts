/** Leases in etcd: one owner of a name among the nodes that share a cluster. */
export { EtcdLeaseStore } from './etcd-lease-store.js';
export type { EtcdAuth, EtcdLeaseStoreOptions, EtcdTlsOptions } from './options.js';
export { EtcdError, etcdErrorCodes } from './errors.js';
export type { EtcdErrorCode } from './errors.js';
