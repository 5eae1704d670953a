import * as tls from 'node:tls';
import { describeError, isMeshwrightError, notify } from '../../core/index.js';
import { refusalOf } from '../authorizers.js';
import type { PeerAuthorizer } from '../authorizers.js';
import type { BundleSet } from '../bundle-set.js';
import { SpiffeError } from '../errors.js';
import { handshakeDefect } from '../handshake-defect.js';
import { peerCertificates } from '../peer-certificates.js';
import type { SpiffeId } from '../spiffe-id.js';
import type { TrustBundle } from '../trust-bundle.js';
import { verifyX509Svid } from '../verify-x509-svid.js';
import type { X509Svid } from '../x509-svid.js';
import { LiveConnections } from './live-connections.js';
import { resolveMtlsOptions } from './options.js';
import type { MtlsOptions, ResolvedMtlsOptions } from './options.js';
import { setMtlsPeer } from './peer.js';
import { tlsIdentityOptions } from './tls-options.js';

/** Our end of connections: what it presents now, and the one check of the other end. */
export class MtlsIdentity {
  readonly options: ResolvedMtlsOptions;
  readonly live: LiveConnections;
  readonly #side: 'client' | 'server';
  #context: { readonly svid: X509Svid; readonly bundle: TrustBundle | BundleSet; readonly secure: tls.SecureContext };

  constructor(options: MtlsOptions, side: 'client' | 'server', onRenewal: () => void = () => undefined) {
    this.options = resolveMtlsOptions(options);
    this.live = new LiveConnections(this.options, side, onRenewal);
    this.#side = side;
    this.#context = this.#makeContext();
  }

  /** The SVID of now. Throws `SPIFFE_MTLS_SVID_EXPIRED`. */
  requireSvid(): X509Svid {
    const svid = this.options.svid.current;
    if (this.options.clock.now() < svid.notAfter.getTime()) return svid;
    throw new SpiffeError(
      'SPIFFE_MTLS_SVID_EXPIRED',
      `our own SVID ${svid.spiffeId.toString()} expired at ${svid.notAfter.toISOString()}; renew it or attest again`,
    );
  }

  /** The TLS context for the SVID and bundle of now; made anew only when one of them has changed. */
  context(): tls.SecureContext {
    if (!this.isFresh()) this.#context = this.#makeContext();
    return this.#context.secure;
  }

  isFresh(): boolean {
    return this.#context.svid === this.options.svid.current && this.#context.bundle === this.options.bundle.current;
  }

  /**
   * Judges the other end of a finished handshake, in which `svid` was presented, before anything is read from or written
   * to the socket. Destroys the socket and throws `SpiffeError` when it is not to be talked to.
   */
  admit(socket: tls.TLSSocket, svid: X509Svid): void {
    try {
      this.#admit(socket, svid);
    } catch (cause) {
      socket.on('error', () => undefined);
      socket.destroy();
      const error = toSpiffeError(cause);
      const { code, message: reason } = error;
      notify(this.options.observer, { type: 'mtls-peer-refused', side: this.#side, code, reason });
      throw error;
    }
  }

  #admit(socket: tls.TLSSocket, svid: X509Svid): void {
    const { bundle, clock, authorizePeer, observer } = this.options;
    this.requireSvid();
    const defect = handshakeDefect(socket);
    if (defect !== undefined) throw new SpiffeError('SPIFFE_MTLS_RESUMED', defect.message);
    const certificates = peerCertificates(socket);
    const peer = verifyX509Svid({ certificates, bundle: bundle.current, now: clock.now() });
    requireWelcome(authorizePeer, peer.spiffeId);
    const { spiffeId, keyThumbprint, serialNumber, notAfter } = peer;
    setMtlsPeer(socket, { spiffeId, keyThumbprint, serialNumber, notAfter });
    this.live.add(socket, { certificates, svid, notAfterMs: notAfter.getTime() });
    notify(observer, { type: 'mtls-peer-accepted', side: this.#side, peer: spiffeId.toString() });
  }

  #makeContext(): { svid: X509Svid; bundle: TrustBundle | BundleSet; secure: tls.SecureContext } {
    const [svid, bundle] = [this.options.svid.current, this.options.bundle.current];
    return { svid, bundle, secure: tls.createSecureContext(tlsIdentityOptions(svid, bundle)) };
  }
}

function requireWelcome(authorize: PeerAuthorizer, id: SpiffeId): void {
  const refusal = refusalOf(authorize, id);
  if (refusal === undefined) return;
  throw new SpiffeError('SPIFFE_MTLS_NOT_AUTHORIZED', `the peer is ${id.toString()}: ${refusal}`, {
    fields: { peer: id.toString() },
  });
}

function toSpiffeError(error: unknown): SpiffeError {
  if (isMeshwrightError(error) && error instanceof SpiffeError) return error;
  return new SpiffeError('SPIFFE_MTLS_FAILED', `the peer could not be judged: ${describeError(error)}`, {
    cause: error,
  });
}
