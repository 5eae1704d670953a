import { TproxyError } from './errors.js';
import { IptablesBackend, removeIptablesRules } from './iptables-backend.js';
import { NftBackend } from './nft-backend.js';
import { inetTable } from './nft-sets.js';
import type { RuleBackend } from './rule-backend.js';
import type { RunCommand } from './run-command.js';

export interface OpenedBackend {
  readonly backend: RuleBackend;
  /** Removes what the other backend, used by an earlier run, left behind. */
  readonly removeOther: () => Promise<void>;
}

/** Throws `TPROXY_BACKEND_UNAVAILABLE` or `TPROXY_CAPABILITY_MISSING`. */
export async function openBackend(wanted: 'auto' | 'nftables' | 'iptables', run: RunCommand): Promise<OpenedBackend> {
  const whyNotNft = await NftBackend.whyUnavailable(run);
  if (wanted !== 'iptables') {
    if (whyNotNft === undefined) return { backend: new NftBackend(run), removeOther: () => removeAllIptables(run) };
    if (wanted === 'nftables') throw unavailable([`nft: ${whyNotNft}`]);
  }
  const whyNotIptables = await IptablesBackend.whyUnavailable(run);
  if (whyNotIptables !== undefined) {
    throw unavailable([...(whyNotNft === undefined ? [] : [`nft: ${whyNotNft}`]), `iptables: ${whyNotIptables}`]);
  }
  const variant = await IptablesBackend.variantOfKubeProxy(run);
  const pinning = whyNotNft === undefined ? new NftBackend(run, 'pinning') : undefined;
  return {
    backend: new IptablesBackend(run, variant, pinning),
    removeOther: async () => {
      if (whyNotNft === undefined) await run('nft', ['-f', '-'], `add table ${inetTable}\ndelete table ${inetTable}\n`);
      for (const other of ['nft', 'legacy'] as const) {
        if (other !== variant && variant !== 'default') await removeIptablesRules(run, other);
      }
    },
  };
}

async function removeAllIptables(run: RunCommand): Promise<void> {
  for (const variant of ['nft', 'legacy'] as const) await removeIptablesRules(run, variant);
}

function unavailable(reasons: readonly string[]): TproxyError {
  const text = reasons.join('; ');
  if (/operation not permitted|permission denied|must be root/i.test(text)) {
    return new TproxyError(
      'TPROXY_CAPABILITY_MISSING',
      `interception rules need CAP_NET_ADMIN, which this process lacks: ${text}`,
      {
        fields: { capability: 'CAP_NET_ADMIN' },
      },
    );
  }
  return new TproxyError('TPROXY_BACKEND_UNAVAILABLE', `interception needs a working nft or iptables: ${text}`);
}
