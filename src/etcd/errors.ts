import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/etcd`. */
export const etcdErrorCodes = defineErrorCodes({
  ETCD_CONFIGURATION_INVALID: {
    when: 'An option of the etcd store is malformed, or two of them contradict each other.',
    fix: 'Correct the option that the message names.',
  },
  ETCD_UNAVAILABLE: {
    when: 'No endpoint answered in time, or the etcd cluster has no leader.',
    fix: 'See whether etcd runs and can be reached from this node at the endpoints that the message names; leases are lost until it can.',
  },
  ETCD_REFUSED: {
    when: 'The request was refused by etcd: user, password or role do not allow it, or it is over a limit.',
    fix: 'Give the user a role with read and write permission on the prefix of the store, or correct the password.',
  },
  ETCD_RECORD_MALFORMED: {
    when: 'A key under the prefix of the store holds something that no lease store wrote.',
    fix: 'Use a prefix that nothing else writes to, and delete the key that the message names.',
  },
  ETCD_CLOSED: {
    when: 'The store was used after it had been closed.',
    fix: 'Open a new one.',
  },
});

export type EtcdErrorCode = keyof typeof etcdErrorCodes;

export class EtcdError extends MeshwrightError<EtcdErrorCode> {}
