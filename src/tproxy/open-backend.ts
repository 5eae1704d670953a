import { TproxyError } from './errors.js';
import { NftBackend } from './nft-backend.js';
import type { RuleBackend } from './rule-backend.js';
import type { RunCommand } from './run-command.js';

export interface OpenedBackend {
  readonly backend: RuleBackend;
  /** Removes what another backend of an earlier run left behind. */
  readonly removeOther: () => Promise<void>;
}

/** Throws `TPROXY_BACKEND_UNAVAILABLE` or `TPROXY_CAPABILITY_MISSING`. */
export async function openBackend(wanted: 'auto' | 'nftables' | 'iptables', run: RunCommand): Promise<OpenedBackend> {
  const whyNotNft = await NftBackend.whyUnavailable(run);
  if (wanted !== 'iptables' && whyNotNft === undefined)
    return { backend: new NftBackend(run), removeOther: () => Promise.resolve() };
  throw new TproxyError('TPROXY_BACKEND_UNAVAILABLE', `nft: ${whyNotNft ?? 'x'}`);
}
