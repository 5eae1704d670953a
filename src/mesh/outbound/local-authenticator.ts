/**
 * Authenticates a workload of this very node for the in-process path. It asks for no less than a remote agent would
 * see: this agent's own SVID must be valid, and there must be a valid workload token bound to its key, verified against
 * the bundle. So revocation and expiry work alike on both paths.
 */
import { describeError, systemClock } from '../../core/index.js';
import type { Clock } from '../../core/index.js';
import {
  readAgentId,
  toBundleSource,
  toSvidSource,
  verifyWorkloadToken,
  verifyX509Svid,
  defaultWorkloadTokenAudience,
} from '../../spiffe/index.js';
import type {
  BundleSource,
  SpiffeId,
  SvidSource,
  TrustBundle,
  VerifiedWorkloadToken,
  WorkloadTokenSource,
  X509Svid,
} from '../../spiffe/index.js';
import type { AuthenticatedSource, UnverifiedSource } from '../authenticated-source.js';
import type { EvidenceStore } from '../evidence.js';

export interface LocalAuthenticatorOptions {
  readonly svid: X509Svid | SvidSource;
  readonly bundle: TrustBundle | BundleSource;
  readonly tokens: WorkloadTokenSource;
  readonly evidence: EvidenceStore;
  /** Expected `aud` of tokens. Default `meshwright-tunnel`. */
  readonly audience?: string | undefined;
  readonly clock?: Clock | undefined;
}

interface CachedToken {
  readonly token: string;
  readonly bundle: TrustBundle;
  readonly verified: VerifiedWorkloadToken;
}

const maxCachedTokens = 1_024;

export class LocalAuthenticator {
  readonly #svid: SvidSource;
  readonly #bundle: BundleSource;
  readonly #tokens: WorkloadTokenSource;
  readonly #evidence: EvidenceStore;
  readonly #audience: string;
  readonly #clock: Clock;
  readonly #cache = new Map<string, CachedToken>();
  /** What was found trusted last. */
  #trusted: { readonly svid: X509Svid; readonly bundle: TrustBundle } | undefined;

  constructor(options: LocalAuthenticatorOptions) {
    this.#svid = toSvidSource(options.svid);
    this.#bundle = toBundleSource(options.bundle);
    this.#tokens = options.tokens;
    this.#evidence = options.evidence;
    this.#audience = options.audience ?? defaultWorkloadTokenAudience;
    this.#clock = options.clock ?? systemClock;
  }

  /** Never throws; a source that cannot be verified is refused with `source-unauthenticated`. */
  async authenticate(principal: SpiffeId): Promise<AuthenticatedSource | UnverifiedSource> {
    const svid = this.#svid.current;
    const agent = readAgentId(svid.spiffeId);
    if (agent === undefined) return refused(`this agent's own SVID is ${svid.spiffeId.toString()}, not an agent's`);
    const now = this.#clock.now();
    if (now >= svid.notAfter.getTime() || now < svid.notBefore.getTime()) {
      return refused(`this agent's own SVID is not valid now (until ${svid.notAfter.toISOString()})`);
    }
    try {
      this.#requireTrusted(svid, now);
      const token = await this.#tokens.token(principal, { keyThumbprint: svid.keyThumbprint });
      const verified = await this.#verify(principal, token, agent.node, svid.keyThumbprint);
      this.#evidence.recordPeer(agent.node, svid.notAfter);
      this.#evidence.recordToken(agent.node, principal.toString(), verified.expiresAt, verified.keyId);
      return {
        principal,
        node: agent.node,
        via: 'local',
        serialNumber: svid.serialNumber,
        evidence: { node: agent.node, principal: principal.toString() },
      };
    } catch (error) {
      return refused(describeError(error));
    }
  }

  /** As every peer would see it: its root may be gone from the bundle, or the deny list may name it. */
  #requireTrusted(svid: X509Svid, now: number): void {
    const bundle = this.#bundle.current;
    if (this.#trusted?.svid === svid && this.#trusted.bundle === bundle) return;
    verifyX509Svid({ certificates: svid.certificates, bundle, now });
    this.#trusted = { svid, bundle };
  }

  async #verify(
    principal: SpiffeId,
    token: string,
    node: string,
    keyThumbprint: string,
  ): Promise<VerifiedWorkloadToken> {
    const key = principal.toString();
    const bundle = this.#bundle.current;
    const cached = this.#cache.get(key);
    if (
      cached !== undefined &&
      cached.token === token &&
      cached.bundle === bundle &&
      cached.verified.keyThumbprint === keyThumbprint &&
      cached.verified.expiresAt.getTime() > this.#clock.now()
    ) {
      return cached.verified;
    }
    const verified = await verifyWorkloadToken(token, {
      bundle,
      audience: this.#audience,
      now: this.#clock.now(),
      node,
      keyThumbprint,
    });
    // Its key may have been withdrawn meanwhile.
    if (bundle !== this.#bundle.current) return this.#verify(principal, token, node, keyThumbprint);
    if (!verified.workload.equals(principal)) throw new Error(`the token is for ${verified.workload.toString()}`);
    if (this.#cache.size >= maxCachedTokens) this.#cache.clear();
    this.#cache.set(key, { token, bundle, verified });
    return verified;
  }
}

function refused(detail: string): UnverifiedSource {
  return { refused: 'source-unauthenticated', detail };
}
