import { randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import type { Clock, Observer } from '../core/index.js';
import { notify } from '../core/index.js';
import {
  SpiffeId,
  agentId,
  defaultWorkloadTokenAudience,
  keyThumbprint,
  maxWorkloadTokenLifetimeMs,
  readWorkloadId,
  workloadTokenAlgorithm,
  workloadTokenType,
} from '../spiffe/index.js';
import type { TrustDomain } from '../spiffe/index.js';
import type { AuditEntry } from './audit-record.js';
import type { TokenKey } from './authority-state.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import type { WorkloadRegistry } from './workload-registry.js';

export interface WorkloadTokenIssuerOptions {
  readonly registry: WorkloadRegistry;
  /** 1 000 to 86 400 000 ms. Default one hour. Rounded up to whole seconds. */
  readonly ttlMs?: number | undefined;
  /** Who accepts the tokens. Default `meshwright-tunnel`. */
  readonly audience?: string | undefined;
}

export interface WorkloadTokenRequest {
  /** The attested node: from its verified identity, never from what it says. */
  readonly node: string;
  readonly workload: SpiffeId | string;
  /** The key of the agent's own TLS connection: its RFC 7638 SHA-256 thumbprint, or the public key. */
  readonly confirmationKey: string | KeyObject;
}

export interface IssuedWorkloadToken {
  readonly token: string;
  readonly expiresAt: Date;
}

/** What an issuer needs of its CA. */
export interface TokenAuthority {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  readonly observer: Observer<CaEvent>;
  /** The key to sign a token with that ends at `endMs`. */
  tokenKeyUntil(endMs: number): Promise<TokenKey>;
  /** Throws when the workload or the node is denied. */
  requireAllowed(workload: SpiffeId, node: string): void;
  record(entry: AuditEntry): Promise<void>;
}

/**
 * Issues workload tokens (docs/tunnel-protocol.md): JWTs that let one node's agent speak for one workload that runs on it,
 * for as long as it holds the key they are bound to. Made by `SpiffeCA.tokens`.
 */
export class WorkloadTokenIssuer {
  readonly #authority: TokenAuthority;
  readonly #registry: WorkloadRegistry;
  readonly #ttlMs: number;
  readonly #audience: string;

  constructor(authority: TokenAuthority, options: WorkloadTokenIssuerOptions) {
    const { ttlMs = 60 * 60 * 1000, audience = defaultWorkloadTokenAudience } = options;
    if (!(ttlMs >= 1000 && ttlMs <= maxWorkloadTokenLifetimeMs)) {
      throw new CaError('CA_REQUEST_INVALID', `expected a token lifetime of 1000 to 86400000 ms, got ${String(ttlMs)}`);
    }
    this.#authority = authority;
    this.#registry = options.registry;
    this.#ttlMs = ttlMs;
    this.#audience = audience;
  }

  /**
   * Throws `CA_WORKLOAD_NOT_ON_NODE`, `CA_REGISTRY_FAILED`, `CA_SPIFFE_ID_REFUSED` (not a workload of this trust domain), `CA_DENIED`,
   * `CA_REQUEST_INVALID` (node name or confirmation key).
   */
  async issue(request: WorkloadTokenRequest): Promise<IssuedWorkloadToken> {
    const { node } = request;
    const { trustDomain, clock, observer } = this.#authority;
    const workload = this.#workload(request.workload);
    const jkt = thumbprint(request.confirmationKey);
    requireNodeName(trustDomain, node);
    this.#authority.requireAllowed(workload, node);
    await this.#requireOnNode(node, workload);
    const issuedAtSeconds = Math.floor(clock.now() / 1000);
    const expiresAtSeconds = Math.min(
      Math.ceil((clock.now() + this.#ttlMs) / 1000),
      issuedAtSeconds + maxWorkloadTokenLifetimeMs / 1000,
    );
    const { kid, privateKey } = await this.#authority.tokenKeyUntil(expiresAtSeconds * 1000);
    const jti = randomUUID();
    const token = await new SignJWT({ node, cnf: { jkt } })
      .setProtectedHeader({ alg: workloadTokenAlgorithm, typ: workloadTokenType, kid })
      .setIssuer(`spiffe://${trustDomain.name}`)
      .setSubject(workload.toString())
      .setAudience(this.#audience)
      .setIssuedAt(issuedAtSeconds)
      .setNotBefore(issuedAtSeconds)
      .setExpirationTime(expiresAtSeconds)
      .setJti(jti)
      .sign(privateKey);
    const expiresAt = new Date(expiresAtSeconds * 1000);
    await this.#authority.record({
      event: 'issued',
      operation: 'workload-token',
      who: agentId(trustDomain, node).toString(),
      subject: workload.toString(),
      serial: jti,
      node,
      notAfter: expiresAt.toISOString(),
    });
    notify(observer, { type: 'ca-workload-token-issued', node, workload: workload.toString(), jti, expiresAt });
    return Object.freeze({ token, expiresAt });
  }

  #workload(input: SpiffeId | string): SpiffeId {
    let id: SpiffeId;
    try {
      id = typeof input === 'string' ? SpiffeId.parse(input) : input;
    } catch (cause) {
      throw new CaError('CA_SPIFFE_ID_REFUSED', 'expected the SPIFFE ID of a workload, got something else', { cause });
    }
    if (!id.memberOf(this.#authority.trustDomain) || readWorkloadId(id) === undefined) {
      const expected = `spiffe://${this.#authority.trustDomain.name}/ns/<namespace>/sa/<service account>`;
      throw new CaError(
        'CA_SPIFFE_ID_REFUSED',
        `workload tokens are issued for ${expected} only, not for ${id.toString()}`,
      );
    }
    return id;
  }

  async #requireOnNode(node: string, workload: SpiffeId): Promise<void> {
    let runs: boolean;
    try {
      runs = await this.#registry.runsOn(node, workload);
    } catch (cause) {
      const message = `the workload registry could not say whether ${workload.toString()} runs on ${node}; refused`;
      throw new CaError('CA_REGISTRY_FAILED', message, { cause });
    }
    // Nothing but true, whatever a registry in plain JavaScript may return.
    if (runs !== true) {
      const message = `${workload.toString()} does not run on node ${node}`;
      throw new CaError('CA_WORKLOAD_NOT_ON_NODE', message, { fields: { node, workload: workload.toString() } });
    }
  }
}

function thumbprint(key: string | KeyObject): string {
  if (typeof key !== 'string') return keyThumbprint(key);
  if (!/^[A-Za-z0-9_-]{43}$/.test(key)) {
    throw new CaError(
      'CA_REQUEST_INVALID',
      'expected the confirmation key as an RFC 7638 SHA-256 thumbprint, 43 characters',
    );
  }
  return key;
}

function requireNodeName(trustDomain: TrustDomain, node: string): void {
  try {
    agentId(trustDomain, node);
  } catch (cause) {
    throw new CaError('CA_REQUEST_INVALID', 'expected the name of a node, which is one segment of a SPIFFE ID', {
      cause,
    });
  }
}
