/**
 * Who is asking, at the destination: the TLS peer must be an agent of a node the snapshot knows, and the workload token
 * must be bound to that very peer's node and key. Nothing else that arrives is identity.
 */
import { isMeshwrightError, systemClock } from '../../core/index.js';
import type { Clock } from '../../core/index.js';
import {
  readAgentId,
  readWorkloadId,
  toBundleSource,
  verifyWorkloadToken,
  defaultWorkloadTokenAudience,
  workloadTokenHeader,
} from '../../spiffe/index.js';
import type { BundleSource, TrustBundle, VerifiedWorkloadToken } from '../../spiffe/index.js';
import type { TunnelPeer } from '../../tunnel/index.js';
import type { AuthenticatedSource, UnverifiedSource } from '../authenticated-source.js';
import type { EvidenceStore } from '../evidence.js';
import type { RefusalReason } from '../refusal.js';

export interface PeerAuthenticatorOptions {
  readonly bundle: TrustBundle | BundleSource;
  readonly evidence: EvidenceStore;
  /** Whether the snapshot knows this node. */
  readonly knowsNode: (node: string) => boolean;
  /** Accept peers whose certificate is itself a workload SVID (as Istio's ztunnel presents). Default false. */
  readonly acceptWorkloadSvids?: boolean | undefined;
  /** Expected `aud` of tokens. Default `meshwright-tunnel`. */
  readonly audience?: string | undefined;
  readonly clock?: Clock | undefined;
}

type Outcome = AuthenticatedSource | UnverifiedSource;

interface CachedToken {
  readonly verified: VerifiedWorkloadToken;
  /** A token verified under an older bundle is verified again: its key may have been withdrawn. */
  readonly bundle: TrustBundle;
}

/** Distinct live workloads of one peer node; beyond it the oldest is verified again when it comes back. */
const maxCachedTokensPerSession = 512;

const reasonOfCode: Readonly<Record<string, RefusalReason>> = Object.freeze({
  SPIFFE_TOKEN_MALFORMED: 'token-malformed',
  SPIFFE_TOKEN_TYPE: 'token-type',
  SPIFFE_TOKEN_SIGNATURE: 'token-signature',
  SPIFFE_TOKEN_EXPIRED: 'token-expired',
  SPIFFE_TOKEN_NOT_YET_VALID: 'token-not-yet-valid',
  SPIFFE_TOKEN_LIFETIME: 'token-lifetime',
  SPIFFE_TOKEN_AUDIENCE: 'token-audience',
  SPIFFE_TOKEN_ISSUER: 'token-issuer',
  SPIFFE_TOKEN_SUBJECT: 'token-subject',
  SPIFFE_TOKEN_NODE_MISMATCH: 'token-node-mismatch',
  SPIFFE_TOKEN_KEY_MISMATCH: 'token-key-mismatch',
  SPIFFE_TOKEN_DENIED: 'identity-denied',
});

export class PeerAuthenticator {
  readonly #bundle: BundleSource;
  readonly #evidence: EvidenceStore;
  readonly #knowsNode: (node: string) => boolean;
  readonly #acceptWorkloadSvids: boolean;
  readonly #audience: string;
  readonly #clock: Clock;
  /** Keyed by the TLS session's own object, so that the cache ends with the session and is never shared between peers. */
  readonly #tokens = new WeakMap<object, Map<string, CachedToken>>();

  constructor(options: PeerAuthenticatorOptions) {
    this.#bundle = toBundleSource(options.bundle);
    this.#evidence = options.evidence;
    this.#knowsNode = options.knowsNode;
    this.#acceptWorkloadSvids = options.acceptWorkloadSvids ?? false;
    this.#audience = options.audience ?? defaultWorkloadTokenAudience;
    this.#clock = options.clock ?? systemClock;
  }

  /** What decides whether a source is denied; a change of it concerns live connections as well. */
  get bundle(): BundleSource {
    return this.#bundle;
  }

  /**
   * Verifies the source of one request on `session` from its verified TLS `peer` and its `headers`, and records the
   * evidence. Synchronous for a token that this session has already shown; a promise otherwise. Never throws.
   */
  authenticate(
    peer: TunnelPeer,
    session: object,
    headers: Readonly<Record<string, string>>,
  ): Outcome | Promise<Outcome> {
    const agent = readAgentId(peer.spiffeId);
    if (agent === undefined) return this.#authenticateWorkloadSvid(peer);
    if (!this.#knowsNode(agent.node)) return refused('peer-node-unknown', `node ${agent.node} is not in the snapshot`);

    const token = headers[workloadTokenHeader];
    if (token === undefined || token === '') return refused('token-missing', `no ${workloadTokenHeader} header`);
    if (token.includes(',')) return refused('token-repeated', `more than one ${workloadTokenHeader} header`);

    const cached = this.#tokens.get(session)?.get(token);
    if (cached !== undefined && cached.bundle === this.#bundle.current) {
      if (cached.verified.expiresAt.getTime() <= this.#clock.now())
        return refused('token-expired', 'the token has expired');
      return this.#accept(peer, cached.verified);
    }
    return this.#verify(peer, session, agent.node, token);
  }

  async #verify(peer: TunnelPeer, session: object, node: string, token: string): Promise<Outcome> {
    try {
      for (;;) {
        const bundle = this.#bundle.current;
        const verified = await verifyWorkloadToken(token, {
          bundle,
          audience: this.#audience,
          now: this.#clock.now(),
          node,
          keyThumbprint: peer.keyThumbprint,
        });
        // Its key may have been withdrawn meanwhile.
        if (bundle !== this.#bundle.current) continue;
        this.#remember(session, token, { verified, bundle });
        return this.#accept(peer, verified);
      }
    } catch (error) {
      const code = isMeshwrightError(error) ? error.code : '';
      // An unknown failure is still a failure.
      const reason = Object.hasOwn(reasonOfCode, code) ? reasonOfCode[code] : undefined;
      return refused(reason ?? 'token-malformed', error instanceof Error ? error.message : 'not an error');
    }
  }

  #accept(peer: TunnelPeer, token: VerifiedWorkloadToken): AuthenticatedSource {
    const principal = token.workload;
    this.#evidence.recordPeer(token.node, peer.notAfter);
    this.#evidence.recordToken(token.node, principal.toString(), token.expiresAt, token.keyId);
    return {
      principal,
      node: token.node,
      via: 'token',
      serialNumber: peer.serialNumber,
      evidence: { node: token.node, principal: principal.toString() },
    };
  }

  #authenticateWorkloadSvid(peer: TunnelPeer): Outcome {
    const id = peer.spiffeId.toString();
    if (!this.#acceptWorkloadSvids || readWorkloadId(peer.spiffeId) === undefined) {
      return refused('peer-not-an-agent', `expected an agent's certificate, got ${id}`);
    }
    this.#evidence.recordPeer(id, peer.notAfter);
    return { principal: peer.spiffeId, via: 'svid', serialNumber: peer.serialNumber, evidence: { node: id } };
  }

  #remember(session: object, token: string, entry: CachedToken): void {
    const tokens = this.#tokens.get(session) ?? new Map<string, CachedToken>();
    this.#tokens.set(session, tokens);
    tokens.delete(token);
    tokens.set(token, entry);
    if (tokens.size <= maxCachedTokensPerSession) return;
    const oldest = tokens.keys().next();
    if (oldest.done !== true) tokens.delete(oldest.value);
  }
}

function refused(reason: RefusalReason, detail: string): UnverifiedSource {
  return { refused: reason, detail };
}
