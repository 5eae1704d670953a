import { randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { LatestValueCell, noObserver, notify, systemClock } from '../core/index.js';
import type { Clock, LatestValue, Observer } from '../core/index.js';
import { SpiffeId, TrustBundle, TrustDomain } from '../spiffe/index.js';
import type { Jwk } from '../spiffe/index.js';
import { writePem } from '../internal/der/pem.js';
import {
  activeRoot,
  decodeAuthorityState,
  encodeAuthorityState,
  jwtKeys,
  newAuthorityState,
  tokenKeys,
} from './authority-state.js';
import type { AuthorityState, SigningRoot, TokenKey } from './authority-state.js';
import { issueLeaf } from './certificate.js';
import { publicKeyOfCsr } from './csr.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import { JoinTokens } from './join-tokens.js';
import { JwtSvidIssuer } from './jwt-svid-issuer.js';
import type { JwtSvidIssuerOptions } from './jwt-svid-issuer.js';
import { leafValidity, requireTtl } from './leaf-validity.js';
import { memoryStore } from './memory-store.js';
import { acceptedPublicKey, spkiOf } from './public-key.js';
import type { PublicKeyInput } from './public-key.js';
import { rootPinOf } from './root-pin.js';
import type { CaStore } from './store.js';
import { WorkloadTokenIssuer } from './workload-token-issuer.js';
import type { WorkloadTokenIssuerOptions } from './workload-token-issuer.js';

interface CommonOptions {
  readonly clock?: Clock | undefined;
  readonly observer?: Observer<CaEvent> | undefined;
  /** Lifetime of an X.509-SVID when a request names none: 2 000 ms or more. Default 24 hours. */
  readonly svidTtlMs?: number | undefined;
}

export interface SpiffeCAOpenOptions extends CommonOptions {
  readonly store: CaStore;
  /** When given, a store of another trust domain is refused. */
  readonly trustDomain?: string | TrustDomain | undefined;
}

export interface SpiffeCACreateOptions extends CommonOptions {
  readonly trustDomain: string | TrustDomain;
  /** Default: a memory store, gone with the process. */
  readonly store?: CaStore | undefined;
  /** Lifetime of the root: 60 000 ms or more. Default ten years. No certificate outlives it. */
  readonly rootTtlMs?: number | undefined;
}

export interface X509SvidRequest {
  /** Of this CA's trust domain, with a path. */
  readonly spiffeId: SpiffeId | string;
  /** ECDSA P-256, ECDSA P-384 or Ed25519. Give this or `csr`. */
  readonly publicKey?: PublicKeyInput | undefined;
  /** PKCS #10, PEM or DER: only its public key is used, after its proof of possession was checked. */
  readonly csr?: string | Uint8Array | undefined;
  /** 2 000 ms or more; cut to the root's end. Default: the CA's `svidTtlMs`. */
  readonly ttlMs?: number | undefined;
}

export interface IssuedX509Svid {
  readonly spiffeId: SpiffeId;
  /** The leaf alone. */
  readonly certificatePem: string;
  /** Leaf first, then intermediates, without the root. */
  readonly chainPem: string;
  /** DER of the same chain. */
  readonly certificates: readonly Uint8Array[];
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Hexadecimal, lower case. */
  readonly serialNumber: string;
}

/**
 * A SPIFFE certificate authority: a self-signed ECDSA P-256 root, X.509-SVIDs under it (SPIFFE X509-SVID, RFC 5280), and
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
  readonly #store: CaStore;
  readonly #clock: Clock;
  readonly #observer: Observer<CaEvent>;
  readonly #root: SigningRoot;
  readonly #tokenKey: TokenKey;
  readonly #jwtKey: TokenKey;
  readonly #bundle: LatestValueCell<TrustBundle>;
  #joinTokens: Promise<JoinTokens> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(store: CaStore, state: AuthorityState, options: CommonOptions) {
    const { clock = systemClock, observer = noObserver, svidTtlMs = 24 * 60 * 60 * 1000 } = options;
    this.svidTtlMs = requireTtl(svidTtlMs);
    this.trustDomain = TrustDomain.parse(state.trustDomain);
    this.#store = store;
    this.#clock = clock;
    this.#observer = observer;
    this.#root = activeRoot(state);
    const keys = { workloadTokens: tokenKeys(state), jwtSvids: jwtKeys(state) };
    this.#tokenKey = keys.workloadTokens[0] as TokenKey;
    this.#jwtKey = keys.jwtSvids[0] as TokenKey;
    this.#bundle = new LatestValueCell(bundleOf(this.trustDomain, state, keys));
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
    return withStore(store, async () => {
      if ((await store.read('authority')) !== undefined) {
        throw new CaError('CA_EXISTS', 'the store already holds a CA; open it, or create this one elsewhere');
      }
      const state = await newAuthorityState(trustDomain, clock.now(), rootTtlMs);
      await store.write('authority', encodeAuthorityState(state));
      return new SpiffeCA(store, state, options);
    });
  }

  /**
   * Opens the CA that `store` holds; never makes one.
   * Throws `CA_NOT_FOUND`, `CA_STORE_CORRUPT`, `CA_REQUEST_INVALID` (another trust domain), the codes of the store.
   */
  static async open(options: SpiffeCAOpenOptions): Promise<SpiffeCA> {
    const { store } = options;
    const expected = options.trustDomain === undefined ? undefined : toTrustDomain(options.trustDomain);
    return withStore(store, async () => {
      const bytes = await store.read('authority');
      if (bytes === undefined) throw new CaError('CA_NOT_FOUND', 'the store holds no CA; create one first');
      const state = decodeAuthorityState(bytes);
      if (expected !== undefined && expected.name !== state.trustDomain) {
        const message = `expected the CA of trust domain ${expected.name}, the store holds that of ${state.trustDomain}`;
        throw new CaError('CA_REQUEST_INVALID', message);
      }
      return new SpiffeCA(store, state, options);
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

  /** What verifies everything this CA issues. */
  get bundle(): LatestValue<TrustBundle> {
    return this.#bundle;
  }

  /** The pin of the root that signs: `sha256:<hex>` of its public key. */
  get rootPin(): string {
    return rootPinOf(this.#root.signer.publicKey);
  }

  /**
   * Issues an X.509-SVID. What it says comes from this request and the CA alone; subject and extensions of a CSR are
   * ignored. Its life begins up to a minute ago (no more than its lifetime), for peers whose clock is behind, and never
   * before the root's; it ends at a whole second, never after the root.
   *
   * Throws `CA_SPIFFE_ID_REFUSED`, `CA_KEY_REFUSED`, `CA_CSR_MALFORMED`, `CA_CSR_SIGNATURE`, `CA_REQUEST_INVALID`,
   * `CA_AUTHORITY_EXPIRED`, `CA_CLOSED`.
   */
  async issueX509Svid(request: X509SvidRequest): Promise<IssuedX509Svid> {
    this.#requireOpen();
    const spiffeId = this.#ownId(request.spiffeId);
    const publicKey = requestedKey(request);
    const root = this.#root;
    const validity = leafValidity(root.certificate, this.#clock.now(), requireTtl(request.ttlMs ?? this.svidTtlMs));
    const serialNumber = randomBytes(16);
    const der = await issueLeaf(root, {
      ...validity,
      serialNumber,
      subjectPublicKeyInfo: spkiOf(publicKey),
      spiffeId: spiffeId.toString(),
    });
    const certificatePem = writePem(der, 'CERTIFICATE');
    const issued: IssuedX509Svid = Object.freeze({
      spiffeId,
      certificatePem,
      chainPem: certificatePem,
      certificates: Object.freeze([der]),
      ...validity,
      serialNumber: serialNumber.toString('hex').replace(/^(00)+/, ''),
    });
    notify(this.#observer, {
      type: 'ca-svid-issued',
      spiffeId: spiffeId.toString(),
      serialNumber: issued.serialNumber,
      notAfter: issued.notAfter,
    });
    return issued;
  }

  /** An issuer of workload tokens for the workloads that `registry` places on a node. Throws `CA_REQUEST_INVALID`. */
  tokens(options: WorkloadTokenIssuerOptions): WorkloadTokenIssuer {
    const authority = {
      trustDomain: this.trustDomain,
      clock: this.#clock,
      observer: this.#observer,
      tokenKey: () => {
        this.#requireOpen();
        return this.#tokenKey;
      },
    };
    return new WorkloadTokenIssuer(authority, options);
  }

  /** An issuer of JWT-SVIDs for any identity of this trust domain. Throws `CA_REQUEST_INVALID`. */
  jwtSvids(options: JwtSvidIssuerOptions = {}): JwtSvidIssuer {
    const authority = {
      clock: this.#clock,
      observer: this.#observer,
      ownId: (id: SpiffeId | string) => this.#ownId(id),
      jwtKey: () => {
        this.#requireOpen();
        return this.#jwtKey;
      },
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
    });
    return this.#joinTokens;
  }

  /** Closes the store; nothing is issued afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#store.close();
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

function bundleOf(
  trustDomain: TrustDomain,
  state: AuthorityState,
  keys: Readonly<Record<'workloadTokens' | 'jwtSvids', readonly TokenKey[]>>,
): TrustBundle {
  return TrustBundle.create({
    trustDomain,
    x509Authorities: state.roots.map((root) => root.certificatePem),
    workloadTokenKeys: keys.workloadTokens.map(publicJwk),
    jwtAuthorities: keys.jwtSvids.map(publicJwk),
    sequence: state.sequence,
  });
}

function publicJwk({ kid, privateKey }: TokenKey): Jwk {
  const { x = '', y = '' } = privateKey.export({ format: 'jwk' });
  return { kty: 'EC', crv: 'P-256', x, y, kid };
}

function requestedKey(request: X509SvidRequest): KeyObject {
  if (request.csr !== undefined && request.publicKey === undefined) return publicKeyOfCsr(request.csr);
  if (request.publicKey !== undefined && request.csr === undefined) return acceptedPublicKey(request.publicKey);
  throw new CaError('CA_REQUEST_INVALID', 'expected exactly one of publicKey and csr');
}

function toTrustDomain(input: string | TrustDomain): TrustDomain {
  return typeof input === 'string' ? TrustDomain.parse(input) : input;
}

/** Opens `store` for `use`, and closes it again when that fails. */
async function withStore<T>(store: CaStore, use: () => Promise<T>): Promise<T> {
  await store.open();
  try {
    return await use();
  } catch (error) {
    await store.close();
    throw error;
  }
}
