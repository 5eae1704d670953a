import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../core/index.js';
import { agentId } from '../spiffe/index.js';
import type { SpiffeId, TrustDomain } from '../spiffe/index.js';
import type { AuditEntry } from './audit-record.js';
import { CaError } from './errors.js';
import type { CaStore } from './store.js';

export interface JoinTokenRequest {
  /** The node that may join with it, and no other: the name becomes part of its SPIFFE ID. */
  readonly node: string;
  /** 1 000 ms to 30 days. Default one hour. */
  readonly ttlMs?: number | undefined;
  /** Who wants it: for the audit log. Default `operator`. */
  readonly by?: string | undefined;
}

/** Handed to the new node, out of band. Secret until used. */
export interface JoinToken {
  readonly token: string;
  /** What the node checks the controller's root against before it sends the token. */
  readonly rootPin: string;
  readonly node: string;
  readonly expiresAt: Date;
}

export interface JoinTokensOptions {
  readonly trustDomain: TrustDomain;
  readonly clock: Clock;
  /** Already open. */
  readonly store: Pick<CaStore, 'read' | 'write'>;
  readonly rootPin: () => string;
  /** Writes to the audit log; what cannot be recorded is not done. */
  readonly record: (entry: AuditEntry) => Promise<void>;
}

const maxTokens = 10_000;
/** Used and expired tokens are remembered this long past their end, so that a late one is refused by its right name. */
const rememberMs = 24 * 60 * 60 * 1000;

const entrySchema = z.strictObject({
  /** Public half of the token: finds the entry without comparing secrets. */
  id: z.string(),
  /** SHA-256 of the secret half, base64url. A fast hash will do: the secret has 256 random bits. */
  secretHash: z.string().length(43),
  node: z.string(),
  expiresAtMs: z.number(),
  usedAtMs: z.number().optional(),
});
const documentSchema = z.strictObject({ format: z.literal('meshwright-join-tokens/1'), tokens: z.array(entrySchema) });
type Entry = z.output<typeof entrySchema>;

/**
 * Join tokens: how a node that has no identity yet proves that an operator sent it. Single use, expiring, bound to one
 * node name; only a hash is kept, in the CA's store, so that a restart neither forgets a token nor revives a used one.
 * Made by `SpiffeCA.joinTokens`.
 */
export class JoinTokens {
  readonly #options: JoinTokensOptions;
  readonly #entries: Map<string, Entry>;

  private constructor(options: JoinTokensOptions, entries: readonly Entry[]) {
    this.#options = options;
    this.#entries = new Map(entries.map((entry) => [entry.id, entry]));
  }

  /** Reads what the store holds. Throws `CA_STORE_CORRUPT`. */
  static async load(options: JoinTokensOptions): Promise<JoinTokens> {
    const bytes = await options.store.read('join-tokens');
    if (bytes === undefined) return new JoinTokens(options, []);
    try {
      const document = documentSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
      return new JoinTokens(options, document.tokens);
    } catch (cause) {
      const message = 'the list of join tokens cannot be used: it is not of the form this program wrote';
      throw new CaError('CA_STORE_CORRUPT', message, { cause });
    }
  }

  /** Makes a token. Throws `CA_REQUEST_INVALID` (node name, lifetime), `CA_JOIN_TOKEN_LIMIT`, `CA_STORE_FAILED`. */
  async create(request: JoinTokenRequest): Promise<JoinToken> {
    const { node, ttlMs = 60 * 60 * 1000 } = request;
    if (!(ttlMs >= 1000 && ttlMs <= 30 * 24 * 60 * 60 * 1000)) {
      throw new CaError(
        'CA_REQUEST_INVALID',
        `expected a join token lifetime of 1000 ms to 30 days, got ${String(ttlMs)}`,
      );
    }
    this.#agentId(node);
    this.#prune();
    if (this.#entries.size >= maxTokens) {
      throw new CaError('CA_JOIN_TOKEN_LIMIT', `there are ${String(maxTokens)} join tokens already`);
    }
    const id = randomBytes(9).toString('base64url');
    const secret = randomBytes(32).toString('base64url');
    const expiresAtMs = this.#options.clock.now() + ttlMs;
    await this.#options.record({
      event: 'issued',
      operation: 'join-token',
      who: request.by ?? 'operator',
      subject: this.#agentId(node).toString(),
      // The half of the token that is no secret.
      serial: id,
      node,
      notAfter: new Date(expiresAtMs).toISOString(),
    });
    this.#entries.set(id, { id, secretHash: hashOf(secret), node, expiresAtMs });
    await this.#save();
    const rootPin = this.#options.rootPin();
    return Object.freeze({ token: `${id}.${secret}`, rootPin, node, expiresAt: new Date(expiresAtMs) });
  }

  /**
   * Which agent `token` stands for, without using it up.
   * Throws `CA_JOIN_TOKEN_UNKNOWN`, `CA_JOIN_TOKEN_USED`, `CA_JOIN_TOKEN_EXPIRED`.
   */
  check(token: string): { readonly node: string; readonly agent: SpiffeId } {
    const { node } = this.#usable(token);
    return { node, agent: this.#agentId(node) };
  }

  /**
   * Uses `token` up, and returns only when the store knows it: whatever fails afterwards, it is not accepted again.
   * Throws as `check`, and `CA_STORE_FAILED`.
   */
  async redeem(token: string): Promise<{ readonly node: string; readonly agent: SpiffeId }> {
    const entry = this.#usable(token);
    const { node } = entry;
    // Before the first await, so that of two calls with one token the second is refused.
    this.#entries.set(entry.id, { ...entry, usedAtMs: this.#options.clock.now() });
    await this.#save();
    return { node, agent: this.#agentId(node) };
  }

  #usable(token: string): Entry {
    const [, id = '', secret = ''] = /^([A-Za-z0-9_-]{12})\.([A-Za-z0-9_-]{43})$/.exec(token) ?? [];
    const entry = this.#entries.get(id);
    // Compared even when there is no entry, so that time does not tell whether there is one.
    const matches = timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(entry?.secretHash ?? hashOf('')));
    if (entry === undefined || !matches) {
      throw new CaError('CA_JOIN_TOKEN_UNKNOWN', 'the join token is not one that this CA knows');
    }
    const fields = { node: entry.node };
    if (entry.usedAtMs !== undefined) {
      const message = `the join token for node ${entry.node} was used at ${new Date(entry.usedAtMs).toISOString()}`;
      throw new CaError('CA_JOIN_TOKEN_USED', message, { fields });
    }
    if (this.#options.clock.now() >= entry.expiresAtMs) {
      const message = `the join token for node ${entry.node} ended at ${new Date(entry.expiresAtMs).toISOString()}`;
      throw new CaError('CA_JOIN_TOKEN_EXPIRED', message, { fields });
    }
    return entry;
  }

  #agentId(node: string): SpiffeId {
    try {
      return agentId(this.#options.trustDomain, node);
    } catch (cause) {
      throw new CaError('CA_REQUEST_INVALID', 'expected the name of a node, which is one segment of a SPIFFE ID', {
        cause,
      });
    }
  }

  #prune(): void {
    const oldestMs = this.#options.clock.now() - rememberMs;
    for (const entry of this.#entries.values()) if (entry.expiresAtMs < oldestMs) this.#entries.delete(entry.id);
  }

  #save(): Promise<void> {
    const document = { format: 'meshwright-join-tokens/1', tokens: [...this.#entries.values()] };
    return this.#options.store.write('join-tokens', Buffer.from(JSON.stringify(document), 'utf8'));
  }
}

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('base64url');
