import { createClient } from '@connectrpc/connect';
import type { Client, Transport } from '@connectrpc/connect';
import { TrustBundle } from '../spiffe/index.js';
import type { SpiffeId, TrustDomain } from '../spiffe/index.js';
import type { AttestationEvidence } from './attestation/attestor.js';
import { CaError } from './errors.js';
import { CaService } from './gen/ca_pb.js';
import type { Svid } from './gen/ca_pb.js';
import { fromWireError } from './wire-errors.js';
import type { IssuedWorkloadToken } from './workload-token-issuer.js';

/** What a CA answers to a request for an identity; not verified yet. */
export interface SvidGrant {
  /** DER, leaf first, without the root. */
  readonly certificates: readonly Uint8Array[];
  readonly bundle: TrustBundle;
}

export interface CaClientOptions {
  /** Must have verified the controller before it sends anything. */
  readonly transport: Transport;
  readonly trustDomain: TrustDomain;
  /** Of one call; 100 to 300 000 ms. Default 10 000. */
  readonly timeoutMs?: number | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * The CA as an agent calls it. Failures are `CaError`s with the CA's own code, or `CA_UNAVAILABLE`; what comes back is
 * parsed (`CA_RESPONSE_INVALID`) but not verified: the renewer and the token cache do that.
 */
export class CaClient {
  readonly #client: Client<typeof CaService>;
  readonly #trustDomain: TrustDomain;
  readonly #timeoutMs: number;

  constructor(options: CaClientOptions) {
    this.#client = createClient(CaService, options.transport);
    this.#trustDomain = options.trustDomain;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /** Attests this node with a one-time token. `csr` is DER (`createCsr`). */
  async join(request: { readonly token: string; readonly csr: Uint8Array }, options?: CallOptions): Promise<SvidGrant> {
    const message = { joinToken: request.token, csr: request.csr };
    return this.#grant(await this.#call('join', () => this.#client.join(message, this.#callOptions(options))));
  }

  /** Attests this node with evidence that the CA has an attestor for. `csr` is DER (`createCsr`). */
  async attest(
    request: { readonly evidence: AttestationEvidence; readonly csr: Uint8Array },
    options?: CallOptions,
  ): Promise<SvidGrant> {
    const { evidence, csr } = request;
    const message = { evidence: { type: evidence.type, value: evidence.value }, csr };
    return this.#grant(await this.#call('join', () => this.#client.join(message, this.#callOptions(options))));
  }

  /** A fresh SVID for the identity this client's connection is authenticated with. `csr` is DER. */
  async renew(request: { readonly csr: Uint8Array }, options?: CallOptions): Promise<SvidGrant> {
    return this.#grant(await this.#call('renew', () => this.#client.renew(request, this.#callOptions(options))));
  }

  /** A token for `workload`, bound to the key this client's connection is authenticated with. */
  async issueWorkloadToken(workload: SpiffeId, options?: CallOptions): Promise<IssuedWorkloadToken> {
    const message = { workload: workload.toString() };
    const { token, expiresAtMs } = await this.#call('issue a workload token', () =>
      this.#client.issueWorkloadToken(message, this.#callOptions(options)),
    );
    return { token, expiresAt: new Date(Number(expiresAtMs)) };
  }

  /** The trust bundle now, then again after each change; ends by throwing, or when the signal aborts or the loop is left. */
  async *watchBundle(options: CallOptions = {}): AsyncIterableIterator<TrustBundle> {
    // connect goes on with a stream whose reader has left, until its signal aborts.
    const left = new AbortController();
    const signal = options.signal === undefined ? left.signal : AbortSignal.any([options.signal, left.signal]);
    try {
      for await (const { bundle } of this.#client.watchBundle({}, { signal })) yield this.#bundle(bundle);
    } catch (error) {
      if (signal.aborted) return;
      throw fromWireError(error, 'send its trust bundle');
    } finally {
      left.abort();
    }
  }

  #callOptions({ signal }: CallOptions = {}): { timeoutMs: number; signal?: AbortSignal } {
    return signal === undefined ? { timeoutMs: this.#timeoutMs } : { timeoutMs: this.#timeoutMs, signal };
  }

  async #call<T>(operation: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw fromWireError(error, operation);
    }
  }

  #grant(answer: { readonly svid?: Svid; readonly bundle: string }): SvidGrant {
    const certificates = answer.svid?.certificates ?? [];
    if (certificates.length === 0) throw new CaError('CA_RESPONSE_INVALID', 'the CA answered without a certificate');
    return { certificates, bundle: this.#bundle(answer.bundle) };
  }

  #bundle(document: string): TrustBundle {
    try {
      return TrustBundle.parse(document, this.#trustDomain);
    } catch (cause) {
      throw new CaError('CA_RESPONSE_INVALID', 'the CA sent a trust bundle that cannot be used', { cause });
    }
  }
}
