import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { notify } from '../core/index.js';
import type { Clock, Observer } from '../core/index.js';
import { maxJwtSvidLifetimeMs } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import type { AuditEntry } from './audit-record.js';
import type { TokenKey } from './authority-state.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';

export interface JwtSvidIssuerOptions {
  /** Lifetime when a request names none: 1 000 to 86 400 000 ms. Default five minutes. Rounded up to whole seconds. */
  readonly ttlMs?: number | undefined;
}

export interface JwtSvidRequest {
  /** Of this CA's trust domain, with a path. */
  readonly spiffeId: SpiffeId | string;
  /** Who is to accept it: 1 to 16 names of 1 to 256 characters. Give one where you can: each could use it at the others. */
  readonly audience: string | readonly string[];
  /** 1 000 to 86 400 000 ms. Default: the issuer's. */
  readonly ttlMs?: number | undefined;
}

export interface IssuedJwtSvid {
  readonly token: string;
  readonly spiffeId: SpiffeId;
  readonly expiresAt: Date;
}

/** What an issuer needs of its CA. */
export interface JwtAuthority {
  readonly clock: Clock;
  readonly observer: Observer<CaEvent>;
  /** Throws `CA_SPIFFE_ID_REFUSED` unless it is of the CA's trust domain, with a path. */
  ownId(id: SpiffeId | string): SpiffeId;
  /** The JWT-SVID key to sign with until then, which is never one of the keys of workload tokens. */
  jwtKeyUntil(endMs: number): Promise<TokenKey>;
  record(entry: AuditEntry): Promise<void>;
}

/**
 * Issues JWT-SVIDs (SPIFFE JWT-SVID standard): short-lived bearer tokens for places where a certificate cannot go. Made by
 * `SpiffeCA.jwtSvids`. Whoever holds this object can speak for every identity of the trust domain at any audience; nothing
 * of it is offered over the network.
 */
export class JwtSvidIssuer {
  readonly #authority: JwtAuthority;
  readonly #ttlMs: number;

  constructor(authority: JwtAuthority, options: JwtSvidIssuerOptions = {}) {
    this.#authority = authority;
    this.#ttlMs = requireLifetime(options.ttlMs ?? 5 * 60 * 1000);
  }

  /** Throws `CA_SPIFFE_ID_REFUSED`, `CA_DENIED`, `CA_REQUEST_INVALID` (audience, lifetime), `CA_CLOSED`. */
  async issue(request: JwtSvidRequest): Promise<IssuedJwtSvid> {
    const { clock, observer } = this.#authority;
    const spiffeId = this.#authority.ownId(request.spiffeId);
    const audience = requireAudience(request.audience);
    const ttlMs = requireLifetime(request.ttlMs ?? this.#ttlMs);
    const issuedAtSeconds = Math.floor(clock.now() / 1000);
    const expiresAtSeconds = Math.min(
      Math.ceil((clock.now() + ttlMs) / 1000),
      issuedAtSeconds + maxJwtSvidLifetimeMs / 1000,
    );
    const { kid, privateKey } = await this.#authority.jwtKeyUntil(expiresAtSeconds * 1000);
    const jti = randomUUID();
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid })
      .setSubject(spiffeId.toString())
      .setAudience([...audience])
      .setIssuedAt(issuedAtSeconds)
      .setExpirationTime(expiresAtSeconds)
      .setJti(jti)
      .sign(privateKey);
    const expiresAt = new Date(expiresAtSeconds * 1000);
    await this.#authority.record({
      event: 'issued',
      operation: 'jwt-svid',
      who: 'operator',
      subject: spiffeId.toString(),
      serial: jti,
      notAfter: expiresAt.toISOString(),
      why: `audience ${audience.join(' ')}`,
    });
    notify(observer, { type: 'ca-jwt-svid-issued', spiffeId: spiffeId.toString(), audience, jti, expiresAt });
    return Object.freeze({ token, spiffeId, expiresAt });
  }
}

function requireLifetime(ttlMs: number): number {
  if (ttlMs >= 1000 && ttlMs <= maxJwtSvidLifetimeMs) return ttlMs;
  throw new CaError('CA_REQUEST_INVALID', `expected a JWT-SVID lifetime of 1000 to 86400000 ms, got ${String(ttlMs)}`);
}

function requireAudience(audience: string | readonly string[]): readonly string[] {
  const names: readonly unknown[] = typeof audience === 'string' ? [audience] : audience;
  const good =
    Array.isArray(names) &&
    names.length >= 1 &&
    names.length <= 16 &&
    names.every((name) => typeof name === 'string' && name.length >= 1 && name.length <= 256);
  if (good) return Object.freeze([...new Set(names as readonly string[])]);
  throw new CaError('CA_REQUEST_INVALID', 'expected 1 to 16 audiences of 1 to 256 characters each');
}
