/** What this module reports to an `Observer<CaEvent>`. Values never contain keys or tokens. */
import type { CaCertificateEnd } from './certificate-ends.js';
import type { CaErrorCode } from './errors.js';

/** What was asked of the CA. */
export type CaOperation = 'join' | 'renew' | 'workload-token' | 'bundle';

export type CaEvent =
  | {
      /** The CA issued an X.509-SVID. */
      readonly type: 'ca-svid-issued';
      readonly spiffeId: string;
      readonly serialNumber: string;
      readonly notAfter: Date;
    }
  | {
      readonly type: 'ca-workload-token-issued';
      readonly node: string;
      readonly workload: string;
      readonly jti: string;
      readonly expiresAt: Date;
    }
  | {
      readonly type: 'ca-jwt-svid-issued';
      readonly spiffeId: string;
      readonly audience: readonly string[];
      readonly jti: string;
      readonly expiresAt: Date;
    }
  | {
      /** The CA was opened, or its keys or its bundle changed: the ends of all its certificates. */
      readonly type: 'ca-certificates';
      readonly ends: readonly CaCertificateEnd[];
    }
  | {
      /** A request over the network was refused. */
      readonly type: 'ca-refused';
      readonly operation: CaOperation;
      readonly code: CaErrorCode;
      readonly reason: string;
      /** The node that asked, as far as it was verified. */
      readonly node?: string | undefined;
    }
  | {
      /** Agent side: an SVID was attested or renewed and is in use from now. */
      readonly type: 'svid-updated';
      readonly how: 'attested' | 'renewed' | 'loaded';
      readonly spiffeId: string;
      readonly notAfter: Date;
      readonly renewAt: Date;
    }
  | {
      /** Agent side: a renewal failed and will be tried again. */
      readonly type: 'svid-renewal-failed';
      readonly spiffeId: string;
      readonly notAfter: Date;
      readonly code: string;
      readonly attempt: number;
      /** Of validity, when it failed. */
      readonly secondsLeft: number;
    }
  | {
      /** Agent side: the SVID ended without a renewal, and an attempt to attest anew failed. */
      readonly type: 'svid-expired';
      readonly spiffeId: string;
      readonly notAfter: Date;
      readonly code: string;
    }
  | {
      /** Agent side: the deny list names our own SVID from now on, or no longer. */
      readonly type: 'svid-denied';
      readonly spiffeId: string;
      readonly serialNumber: string;
      /** Why; undefined when it no longer does. */
      readonly denied: string | undefined;
    }
  | {
      readonly type: 'workload-token-updated';
      readonly workload: string;
      readonly expiresAt: Date;
    }
  | {
      readonly type: 'workload-token-failed';
      readonly workload: string;
      readonly code: string;
    };
