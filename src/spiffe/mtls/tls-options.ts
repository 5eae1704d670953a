import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { authoritiesPem } from '../bundle-set.js';
import type { BundleSet } from '../bundle-set.js';
import type { TrustBundle } from '../trust-bundle.js';
import type { X509Svid } from '../x509-svid.js';

/**
 * TLS 1.3 only and no session tickets, for either end of a connection between identities: a resumed session would skip the
 * check of the certificate. Refuse one whose socket `isSessionReused()` all the same.
 */
export const tlsBaseOptions = Object.freeze({
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const satisfies SecureContextOptions);

/** `tlsBaseOptions` with our chain and key. Secret: it holds the private key. */
export function tlsIdentityOptions(svid: X509Svid, trusted: TrustBundle | BundleSet): SecureContextOptions {
  return {
    ...tlsBaseOptions,
    cert: svid.chainPem,
    key: svid.privateKeyPem,
    // Not what decides who is trusted (`verifyX509Svid` does): it names the authorities to clients that choose by them.
    ca: [...authoritiesPem(trusted)],
  };
}
