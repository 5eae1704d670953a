import { noObserver, notify, systemClock } from '../core/index.js';
import type { Clock, LatestValue, Observer } from '../core/index.js';
import { SpiffeId, TrustDomain } from '../spiffe/index.js';
import type { TrustBundle } from '../spiffe/index.js';
import type { AuditLog } from './audit-log.js';
import type { AuditEntry } from './audit-record.js';
import { UsedEvidence } from './attestation/used-evidence.js';
import { Authority } from './authority.js';
import {
  decodeAuthorityState,
  encodeAuthorityState,
  newAuthorityState,
  stateWithoutRoot,
  withKnownUse,
} from './authority-state.js';
import type { AuthorityState } from './authority-state.js';
import { CaDenyList } from './ca-deny-list.js';
import { CaError } from './errors.js';
import { certificateEnds } from './certificate-ends.js';
import type { CaEvent } from './events.js';
import { JoinTokens } from './join-tokens.js';
import { KeyRotation } from './key-rotation.js';
import { JwtSvidIssuer } from './jwt-svid-issuer.js';
import type { JwtSvidIssuerOptions } from './jwt-svid-issuer.js';
import { requireTtl } from './leaf-validity.js';
import { memoryStore } from './memory-store.js';
import { rootPinOf } from './root-pin.js';
import type {
  CommonOptions,
  SpiffeCACreateOptions,
  SpiffeCAInstallOptions,
  SpiffeCAOpenOptions,
  SubordinateRequestOptions,
} from './spiffe-ca-options.js';
import type { CaStore } from './store.js';
import { newRequestedKey } from './subordinate/ca-request.js';
import { ExternalRoot, installFirst, keyPin } from './subordinate/external-root.js';
import { WorkloadTokenIssuer } from './workload-token-issuer.js';
import type { WorkloadTokenIssuerOptions } from './workload-token-issuer.js';
import { X509SvidIssuer } from './x509-svid-issuer.js';
import type { IssuedX509Svid, X509SvidRequest } from './x509-svid-issuer.js';

/**
 * A SPIFFE certificate authority: a self-signed root (ECDSA P-256 unless told otherwise), X.509-SVIDs under it (SPIFFE X509-SVID, RFC 5280), and
 * workload tokens and JWT-SVIDs, each under a key of their own. Whoever holds this object can issue any identity of the trust domain;
 * what may be asked for over the network is `caRoutes`' business.
 *
 * @example
 * const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
 * const { chainPem } = await ca.issueX509Svid({ spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', csr });
 */
export class SpiffeCA implements AsyncDisposable {
  readonly trustDomain: TrustDomain;
  /** How long an SVID lives when a request does not say. */
  readonly svidTtlMs: number;
  /** Replaces the root, step by step. */
  readonly rootRotation: KeyRotation;
  /** The CA's place under an external root, and the way to its next certificate. */
  readonly externalRoot: ExternalRoot;
  /** Replaces the key of workload tokens, step by step. */
  readonly tokenKeyRotation: KeyRotation;
  /** Replaces the key of JWT-SVIDs, step by step. */
  readonly jwtKeyRotation: KeyRotation;
  /** Whom nobody accepts any more, and this CA issues nothing for. */
  readonly denyList: CaDenyList;
  readonly #store: CaStore;
  readonly #clock: Clock;
  readonly #observer: Observer<CaEvent>;
  readonly #authority: Authority;
  readonly #audit: AuditLog | undefined;
  readonly #x509Svids: X509SvidIssuer;
  #joinTokens: Promise<JoinTokens> | undefined;
  #usedEvidence: Promise<UsedEvidence> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(store: CaStore, state: AuthorityState, options: CommonOptions, audit: AuditLog | undefined) {
    const { clock = systemClock, observer = noObserver, svidTtlMs = 24 * 60 * 60 * 1000 } = options;
    this.svidTtlMs = requireTtl(svidTtlMs);
    this.#store = store;
    this.#clock = clock;
    this.#observer = observer;
    this.#audit = audit;
    this.#authority = new Authority({ store, state, clock, signers: options.signers ?? [] });
    this.trustDomain = this.#authority.trustDomain;
    const record = (entry: AuditEntry): Promise<void> => this.record(entry);
    this.externalRoot = new ExternalRoot(this.#authority, record);
    this.rootRotation = new KeyRotation(this.#authority, 'roots', record);
    this.tokenKeyRotation = new KeyRotation(this.#authority, 'tokenKeys', record);
    this.jwtKeyRotation = new KeyRotation(this.#authority, 'jwtKeys', record);
    this.denyList = new CaDenyList(this.#authority, record);
    this.#x509Svids = new X509SvidIssuer({
      clock,
      observer,
      svidTtlMs: this.svidTtlMs,
      root: () => {
        this.#requireOpen();
        return this.#authority.root;
      },
      rootUntil: (endMs) => this.#authority.rootUntil(endMs),
      ownId: (input) => this.#ownId(input),
      requireAllowed: (spiffeId) => this.denyList.require(spiffeId),
      record,
    });
    const reportEnds = (): void =>
      notify(observer, { type: 'ca-certificates', ends: certificateEnds(this.#authority.state.roots) });
    reportEnds();
    this.bundle.subscribe(reportEnds);
  }

  /**
   * Makes a new CA and keeps it in `store`.
   * Throws `CA_EXISTS`, the codes of the store, `CA_REQUEST_INVALID` (lifetimes), `SPIFFE_TRUST_DOMAIN_MALFORMED`.
   */
  static async create(options: SpiffeCACreateOptions): Promise<SpiffeCA> {
    const { store = memoryStore(), clock = systemClock, rootTtlMs = 10 * 365 * 24 * 60 * 60 * 1000 } = options;
    const trustDomain = toTrustDomain(options.trustDomain);
    if (!(rootTtlMs >= 60_000 && rootTtlMs <= 100 * 366 * 24 * 60 * 60 * 1000)) {
      throw new CaError('CA_REQUEST_INVALID', `expected rootTtlMs of 60000 ms to 100 years, got ${String(rootTtlMs)}`);
    }
    requireTtl(options.svidTtlMs ?? 2000);
    return withStore(store, options.audit, async (openAudit) => {
      if ((await store.read('authority')) !== undefined) {
        throw new CaError('CA_EXISTS', 'the store already holds a CA; open it, or create this one elsewhere');
      }
      const { keyType, signer } = options;
      const state = await newAuthorityState({ trustDomain, nowMs: clock.now(), ttlMs: rootTtlMs, keyType, signer });
      const audit = await openAudit();
      await audit?.append({
        event: 'rotation',
        operation: 'root-create',
        who: 'operator',
        subject: trustDomain.name,
      });
      const ca = new SpiffeCA(store, state, options, audit);
      await store.write('authority', encodeAuthorityState(state));
      return ca;
    });
  }

  /**
   * Opens the CA that `store` holds; never makes one.
   * Throws `CA_NOT_FOUND`, `CA_CHAIN_MISSING`, `CA_STORE_CORRUPT`, `CA_REQUEST_INVALID` (another trust domain), the codes of
   * the store.
   */
  static async open(options: SpiffeCAOpenOptions): Promise<SpiffeCA> {
    const { store } = options;
    return withStore(store, options.audit, async (openAudit) => {
      const bytes = await store.read('authority');
      if (bytes === undefined) throw new CaError('CA_NOT_FOUND', 'the store holds no CA; create one first');
      const state = decodeAuthorityState(bytes);
      if (state.roots.length === 0) {
        throw new CaError('CA_CHAIN_MISSING', 'this subordinate CA waits for its certificate; install it first');
      }
      requireTrustDomain(state, options.trustDomain);
      const known = withKnownUse(state, (options.clock ?? systemClock).now());
      return new SpiffeCA(store, known, options, await openAudit());
    });
  }

  /** Opens the CA in `store`, or creates it when the store has never held one. Damage is an error, never a fresh start. */
  static async openOrCreate(options: SpiffeCACreateOptions & { readonly store: CaStore }): Promise<SpiffeCA> {
    try {
      return await SpiffeCA.open(options);
    } catch (error) {
      if (error instanceof CaError && error.code === 'CA_NOT_FOUND') return SpiffeCA.create(options);
      throw error;
    }
  }

  /**
   * Begins a CA whose certificate an external root signs: makes its keys in `store` and returns the request (PKCS #10,
   * PEM). Called again before the chain is installed, it returns the same request. `store` is closed again.
   * Throws `CA_EXISTS`, `CA_REQUEST_INVALID` (another trust domain), `CA_SIGNER_FAILED`, the codes of store and audit log.
   */
  static async requestSubordinate(options: SubordinateRequestOptions): Promise<{ readonly csrPem: string }> {
    const { store } = options;
    const trustDomain = toTrustDomain(options.trustDomain);
    return withStore(store, options.audit, async (openAudit) => {
      const bytes = await store.read('authority');
      const kept = bytes === undefined ? undefined : decodeAuthorityState(bytes);
      if (kept !== undefined && (kept.roots.length > 0 || kept.trustDomain !== trustDomain.name)) {
        const message = `the store already holds a CA, of trust domain ${kept.trustDomain}; open it, or begin this one elsewhere`;
        throw new CaError('CA_EXISTS', message);
      }
      const audit = await openAudit();
      let requested = kept?.requested;
      if (requested === undefined) {
        requested = await newRequestedKey(trustDomain, options);
        const subject = keyPin(requested.publicKeyPem);
        await audit?.append({ event: 'rotation', operation: 'root-request', who: 'operator', subject });
        await store.write('authority', encodeAuthorityState({ ...stateWithoutRoot(trustDomain), requested }));
      }
      await store.close();
      await audit?.close();
      return { csrPem: requested.csrPem };
    });
  }

  /**
   * Completes what `requestSubordinate` began, with the chain that the external root's owner sent back, and opens the CA.
   * Throws `CA_NOT_FOUND`, `CA_EXISTS`, `CA_CSR_MISSING`, `CA_CHAIN_KEY`, `CA_CHAIN_REFUSED`, and as `open`.
   */
  static async installSubordinate(options: SpiffeCAInstallOptions): Promise<SpiffeCA> {
    const { store, clock = systemClock, signers = [], chainPem, rootPem } = options;
    return withStore(store, options.audit, async (openAudit) => {
      const bytes = await store.read('authority');
      if (bytes === undefined) throw new CaError('CA_NOT_FOUND', 'the store holds no request for a certificate');
      const waiting = decodeAuthorityState(bytes);
      const trustDomain = requireTrustDomain(waiting, options.trustDomain);
      const state = await installFirst(waiting, { chainPem, rootPem }, { trustDomain, nowMs: clock.now(), signers });
      const audit = await openAudit();
      const ca = new SpiffeCA(store, state, options, audit);
      await ca.record({ event: 'rotation', operation: 'root-install', who: 'operator', subject: ca.rootPin });
      await store.write('authority', encodeAuthorityState(state));
      return ca;
    });
  }

  /** What verifies everything this CA issues. */
  get bundle(): LatestValue<TrustBundle> {
    return this.#authority.bundle;
  }

  /** The pin of the root that signs, or that our signing certificate comes from: `sha256:<hex>` of its public key. */
  get rootPin(): string {
    return rootPinOf(this.#authority.root.rootPublicKey);
  }

  /**
   * Issues an X.509-SVID. What it says comes from this request and the CA alone; subject and extensions of a CSR are
   * ignored. Its life begins up to a minute ago (no more than its lifetime), for peers whose clock is behind, and never
   * before the root's; it ends at a whole second, never after any certificate above it.
   *
   * Throws `CA_SPIFFE_ID_REFUSED`, `CA_KEY_REFUSED`, `CA_CSR_MALFORMED`, `CA_CSR_SIGNATURE`, `CA_REQUEST_INVALID`,
   * `CA_AUTHORITY_EXPIRED`, `CA_DENIED`, `CA_SIGNER_FAILED`, `CA_CLOSED`, the codes of the store and of the audit log.
   */
  issueX509Svid(request: X509SvidRequest): Promise<IssuedX509Svid> {
    return this.#x509Svids.issue(request);
  }

  /** An issuer of workload tokens for the workloads that `registry` places on a node. Throws `CA_REQUEST_INVALID`. */
  tokens(options: WorkloadTokenIssuerOptions): WorkloadTokenIssuer {
    const authority = {
      trustDomain: this.trustDomain,
      clock: this.#clock,
      observer: this.#observer,
      tokenKeyUntil: (endMs: number) => {
        this.#requireOpen();
        return this.#authority.tokenKeyUntil('tokenKeys', endMs);
      },
      requireAllowed: (workload: SpiffeId, node: string) => this.denyList.require(workload, node),
      record: (entry: AuditEntry) => this.record(entry),
    };
    return new WorkloadTokenIssuer(authority, options);
  }

  /** An issuer of JWT-SVIDs for any identity of this trust domain. Throws `CA_REQUEST_INVALID`. */
  jwtSvids(options: JwtSvidIssuerOptions = {}): JwtSvidIssuer {
    const authority = {
      clock: this.#clock,
      observer: this.#observer,
      ownId: (input: SpiffeId | string) => {
        const id = this.#ownId(input);
        this.denyList.require(id);
        return id;
      },
      jwtKeyUntil: (endMs: number) => {
        this.#requireOpen();
        return this.#authority.tokenKeyUntil('jwtKeys', endMs);
      },
      record: (entry: AuditEntry) => this.record(entry),
    };
    return new JwtSvidIssuer(authority, options);
  }

  /** The join tokens of this CA, kept in its store. One object per CA. Throws `CA_STORE_CORRUPT`, `CA_CLOSED`. */
  joinTokens(): Promise<JoinTokens> {
    this.#requireOpen();
    this.#joinTokens ??= JoinTokens.load({
      trustDomain: this.trustDomain,
      clock: this.#clock,
      store: this.#store,
      rootPin: () => this.rootPin,
      record: (entry) => this.record(entry),
    });
    return this.#joinTokens;
  }

  /** What evidence was used up at this CA, kept in its store. One object per CA. Throws `CA_STORE_CORRUPT`, `CA_CLOSED`. */
  usedEvidence(): Promise<UsedEvidence> {
    this.#requireOpen();
    this.#usedEvidence ??= UsedEvidence.load({ clock: this.#clock, store: this.#store });
    return this.#usedEvidence;
  }

  /** Writes to the audit log, when there is one; rejects when it cannot. */
  async record(entry: AuditEntry): Promise<void> {
    await this.#audit?.append(entry);
  }

  /** Closes the store and the audit log; nothing is issued afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#authority
      .close()
      .then(() => this.#store.close())
      .then(() => this.#audit?.close());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ownId(input: SpiffeId | string): SpiffeId {
    let id: SpiffeId;
    try {
      id = typeof input === 'string' ? SpiffeId.parse(input) : input;
    } catch (cause) {
      throw new CaError('CA_SPIFFE_ID_REFUSED', 'expected a SPIFFE ID, got something else', { cause });
    }
    if (!id.memberOf(this.trustDomain) || id.path === '') {
      const message = `expected a SPIFFE ID of trust domain ${this.trustDomain.name} with a path, got ${id.toString()}`;
      throw new CaError('CA_SPIFFE_ID_REFUSED', message);
    }
    return id;
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw new CaError('CA_CLOSED', 'this CA is closed');
  }
}

function requireTrustDomain(state: AuthorityState, wanted: string | TrustDomain | undefined): TrustDomain {
  const found = TrustDomain.parse(state.trustDomain);
  const expected = wanted === undefined ? found : toTrustDomain(wanted);
  if (expected.equals(found)) return found;
  const message = `expected the CA of trust domain ${expected.name}, the store holds that of ${found.name}`;
  throw new CaError('CA_REQUEST_INVALID', message);
}

function toTrustDomain(input: string | TrustDomain): TrustDomain {
  return typeof input === 'string' ? TrustDomain.parse(input) : input;
}

/** Opens `store`, and then the log when asked to, for `use`; closes what it opened when that fails. */
async function withStore<T>(
  store: CaStore,
  audit: CommonOptions['audit'],
  use: (openAudit: () => Promise<AuditLog | undefined>) => Promise<T>,
): Promise<T> {
  await store.open();
  let opened: AuditLog | undefined;
  try {
    return await use(async () => (typeof audit === 'function' ? (opened = await audit()) : audit));
  } catch (error) {
    await opened?.close();
    await store.close();
    throw error;
  }
}
