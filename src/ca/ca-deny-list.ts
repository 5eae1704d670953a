import { DenyList, agentId, maxDenied } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import type { AuditEntry } from './audit-record.js';
import type { Authority } from './authority.js';
import type { AuthorityState } from './authority-state.js';
import type { Denial, DenialKind } from './denial.js';
import { CaError } from './errors.js';

export interface DenyRequest {
  readonly kind: DenialKind;
  /** A serial number (hexadecimal), a SPIFFE ID of the trust domain, or a node name. */
  readonly value: string;
  readonly reason?: string | undefined;
  /** How long the entry stays, in ms. Default: until `allow`. For a certificate, its own end is long enough. */
  readonly ttlMs?: number | undefined;
  readonly by?: string | undefined;
}

/**
 * The CA's deny list: kept in its store, and part of the bundle, so that whoever follows the bundle refuses what is on it
 * within the moment. The CA itself issues nothing for it.
 */
export class CaDenyList {
  readonly #authority: Authority;
  readonly #audit: (entry: AuditEntry) => Promise<void>;

  constructor(authority: Authority, audit: (entry: AuditEntry) => Promise<void>) {
    this.#authority = authority;
    this.#audit = audit;
  }

  get entries(): readonly Denial[] {
    return this.#authority.state.denied;
  }

  /** Adds an entry, or replaces the one of the same value. Throws `CA_REQUEST_INVALID`, `CA_DENY_LIST_FULL`, the codes of the store. */
  async deny(request: DenyRequest): Promise<Denial> {
    const { kind, reason = '', by = 'operator', ttlMs } = request;
    if (ttlMs !== undefined && !(ttlMs >= 1000)) {
      throw new CaError('CA_REQUEST_INVALID', `expected a ttlMs of 1000 or more, got ${String(ttlMs)}`);
    }
    const value = this.#normal(kind, request.value);
    return this.#authority.change(async (state) => {
      const nowMs = this.#authority.clock.now();
      const others = current(state, nowMs).filter((entry) => entry.kind !== kind || entry.value !== value);
      if (others.length >= maxDenied || JSON.stringify(others).length > 512 * 1024) {
        const message = `the deny list has ${String(others.length)} entries and no room; rotate the root instead`;
        throw new CaError('CA_DENY_LIST_FULL', message);
      }
      const until = ttlMs === undefined ? {} : { untilMs: nowMs + ttlMs };
      const denial: Denial = Object.freeze({ kind, value, reason: reason.slice(0, 1024), addedAtMs: nowMs, ...until });
      await this.#audit({ event: 'denied', operation: `deny-${kind}`, who: by, subject: value, why: reason });
      return { state: { ...state, denied: [...others, denial] }, result: denial };
    });
  }

  /** Takes an entry off; false when there is none. What is still valid works again. */
  async allow(request: Omit<DenyRequest, 'ttlMs'>): Promise<boolean> {
    const { kind, reason = '', by = 'operator' } = request;
    const value = this.#normal(kind, request.value);
    const isIt = (entry: Denial): boolean => entry.kind === kind && entry.value === value;
    if (!this.entries.some(isIt)) return false;
    return this.#authority.change(async (state) => {
      await this.#audit({ event: 'allowed', operation: `allow-${kind}`, who: by, subject: value, why: reason });
      const denied = current(state, this.#authority.clock.now()).filter((entry) => !isIt(entry));
      return { state: { ...state, denied }, result: true };
    });
  }

  /** Throws `CA_DENIED` when the identity, or the node it comes from, is on the list. */
  require(spiffeId: SpiffeId, node?: string): void {
    const reason = this.#authority.bundle.current.denied.reasonFor({ spiffeId, node });
    if (reason === undefined) return;
    throw new CaError('CA_DENIED', `refused: ${reason}`, { fields: { spiffeId: spiffeId.toString() } });
  }

  #normal(kind: DenialKind, value: string): string {
    const { trustDomain } = this.#authority;
    try {
      if (kind === 'spiffe-id') return DenyList.create({ spiffeIds: [value] }, trustDomain).spiffeIds[0] ?? value;
      if (kind === 'serial-number') {
        return DenyList.create({ serialNumbers: [value] }, trustDomain).serialNumbers[0] ?? value;
      }
      agentId(trustDomain, value);
      return value;
    } catch (cause) {
      const expected = {
        'spiffe-id': 'a SPIFFE ID of the trust domain',
        'serial-number': 'a serial number in hexadecimal',
        node: 'the name of a node',
      };
      throw new CaError('CA_REQUEST_INVALID', `expected ${expected[kind]}`, { cause });
    }
  }
}

/** Without the entries whose time is over. */
function current(state: AuthorityState, nowMs: number): readonly Denial[] {
  return state.denied.filter(({ untilMs }) => untilMs === undefined || untilMs > nowMs);
}
