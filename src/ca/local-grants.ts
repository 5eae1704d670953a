import type { SpiffeId } from '../spiffe/index.js';
import type { SpiffeCA } from './spiffe-ca.js';
import type { SvidRequest } from './obtain-identity.js';

/**
 * Requests answered by a CA in this process: how a controller gets and renews its own SVID. Give it to an `SvidRenewer` as
 * `attest` and, wrapped in a function, as `renew`.
 */
export function localGrants(
  ca: SpiffeCA,
  spiffeId: SpiffeId,
  options: { readonly ttlMs?: number | undefined } = {},
): SvidRequest {
  return async (csr) => {
    const { certificates } = await ca.issueX509Svid({
      spiffeId,
      csr,
      ttlMs: options.ttlMs,
      requester: `own process, for ${spiffeId.toString()}`,
    });
    return { certificates, bundle: ca.bundle.current };
  };
}
