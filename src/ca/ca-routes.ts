import { createHash } from 'node:crypto';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import { describeError, noObserver, notify, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Logger, Observer } from '../core/index.js';
import { agentId, readAgentId } from '../spiffe/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import { TokenBuckets } from '../internal/token-bucket.js';
import type { TokenBucketOptions } from '../internal/token-bucket.js';
import type { AttestationEvidence, Attestor } from './attestation/attestor.js';
import { joinTokenAttestor, joinTokenEvidence } from './attestation/join-token-attestor.js';
import { publicKeyOfCsr } from './csr.js';
import { CaError } from './errors.js';
import type { CaEvent, CaOperation } from './events.js';
import { CaService } from './gen/ca_pb.js';
import type { JoinRequest } from './gen/ca_pb.js';
import type { JoinTokens } from './join-tokens.js';
import { RefusalRecords } from './refusal-records.js';
import type { SpiffeCA } from './spiffe-ca.js';
import { toWireError } from './wire-errors.js';
import type { WorkloadTokenIssuer } from './workload-token-issuer.js';
import type { IssuedX509Svid } from './x509-svid-issuer.js';

/** The verified other end of a connection: what its certificate says, after the certificate was verified. */
export interface CaPeer {
  readonly spiffeId: SpiffeId;
  /** RFC 7638 thumbprint of the key of this very connection. */
  readonly keyThumbprint: string;
}

export interface CaRoutesOptions {
  readonly ca: SpiffeCA;
  /** Issues workload tokens; made by `ca.tokens`. */
  readonly tokens: WorkloadTokenIssuer;
  /** From `ca.joinTokens()`. Without it nobody can join by a join token. */
  readonly joinTokens?: JoinTokens | undefined;
  /** Other ways to join, each by its type. Without them and without join tokens nobody can. */
  readonly attestors?: readonly Attestor[] | undefined;
  /** The verified client of a call, `undefined` when it presented no certificate. Must not guess. */
  readonly peerOf: (context: HandlerContext) => CaPeer | undefined;
  /**
   * Whether a node is part of the mesh (still): one that is not cannot join, and gets no renewal, so that removing a node
   * ends its certificate's life. Default: every node is.
   */
  readonly knowsNode?: ((node: string) => boolean) | undefined;
  /** Lifetime of the SVIDs issued to agents. Default: the CA's. */
  readonly svidTtlMs?: number | undefined;
  /** Per node and operation. Default: 20 at once and 1 per second for certificates, 500 and 100 for workload tokens. */
  readonly limits?:
    | { readonly svid?: TokenBucketOptions | undefined; readonly workloadToken?: TokenBucketOptions | undefined }
    | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<CaEvent> | undefined;
}

/** The path of the one call that is made without a client certificate. */
export const joinMethodPath = `/${CaService.typeName}/${CaService.method.join.name}`;

/** The path of the one call that a client on the deny list may make: by it, it learns that it is. */
export const watchBundleMethodPath = `/${CaService.typeName}/${CaService.method.watchBundle.name}`;

const maxWorkloadIdLength = 2048;

/**
 * The CA as a gRPC service, for agents. Every answer rests on the caller's verified certificate, or for `Join` on
 * evidence that an attestor takes; the message itself says only which key or workload it is about. Only agent IDs are ever issued here: never a
 * controller's, never another node's. Every refusal has a code, a line in the log and a `ca-refused` event.
 * Throws `CA_REQUEST_INVALID` for two attestors of one type.
 */
export function caRoutes(options: CaRoutesOptions): (router: ConnectRouter) => void {
  const service = new CaRequests(options);
  return (router) => {
    router.service(CaService, {
      join: (request, { signal }) => service.answer('join', undefined, () => service.join(request, signal)),
      renew: ({ csr }, context) => service.asAgent('renew', context, (agent) => service.renew(agent, csr)),
      issueWorkloadToken: ({ workload }, context) =>
        service.asAgent('workload-token', context, (agent) => service.workloadToken(agent, workload)),
      async *watchBundle(_request, context) {
        await service.asAgent('bundle', context, () => Promise.resolve());
        for await (const bundle of options.ca.bundle.changes({ signal: context.signal })) {
          yield { bundle: JSON.stringify(bundle) };
        }
      },
    });
  };
}

interface Agent extends CaPeer {
  readonly node: string;
}

class CaRequests {
  readonly #options: CaRoutesOptions;
  readonly #logger: Logger;
  readonly #observer: Observer<CaEvent>;
  /** Apart from renewals: whoever has a node's used evidence must not be able to keep it from renewing. */
  readonly #refusals: RefusalRecords;
  readonly #joinLimit: TokenBuckets;
  readonly #renewLimit: TokenBuckets;
  readonly #tokenLimit: TokenBuckets;
  readonly #attestors: ReadonlyMap<string, Attestor>;

  constructor(options: CaRoutesOptions) {
    const { clock = systemClock, logger = silentLogger, observer = noObserver, limits } = options;
    this.#options = options;
    this.#logger = logger;
    this.#observer = observer;
    const svid = limits?.svid ?? { burst: 20, perSecond: 1 };
    this.#refusals = new RefusalRecords({ record: (entry) => options.ca.record(entry), clock, logger });
    this.#joinLimit = new TokenBuckets(svid, clock);
    this.#renewLimit = new TokenBuckets(svid, clock);
    this.#tokenLimit = new TokenBuckets(limits?.workloadToken ?? { burst: 500, perSecond: 100 }, clock);
    this.#attestors = attestorsOf(options);
  }

  /** The evidence is used up only once the request is known to be good, and before the certificate is made. */
  async join(request: JoinRequest, signal: AbortSignal): Promise<SvidAnswer> {
    const { ca, svidTtlMs } = this.#options;
    const { type, value } = evidenceOf(request);
    const attestor = this.#attestors.get(type);
    if (attestor === undefined) throw unknownEvidence(type);
    const { node, how, confirm } = await attestor.attest(value, { signal });
    const spiffeId = agentIdOf(ca, node);
    this.#requireRate(this.#joinLimit, node);
    this.#requireKnown(node, 'it cannot join');
    ca.denyList.require(spiffeId, node);
    const { spki: publicKey } = publicKeyOfCsr(request.csr);
    await confirm?.({ key: createHash('sha256').update(publicKey).digest('base64url'), signal });
    const issued = await ca.issueX509Svid({ spiffeId, publicKey, ttlMs: svidTtlMs, requester: how });
    this.#logger.info('node joined', {
      node,
      by: type,
      spiffe_id: spiffeId.toString(),
      serial: issued.serialNumber,
      not_after: issued.notAfter.toISOString(),
    });
    return this.#svidAnswer(issued);
  }

  async renew(agent: Agent, csr: Uint8Array): Promise<SvidAnswer> {
    const { ca, svidTtlMs } = this.#options;
    this.#requireRate(this.#renewLimit, agent.node);
    this.#requireKnown(agent.node, 'its certificate is not renewed');
    const issued = await ca.issueX509Svid({
      spiffeId: agent.spiffeId,
      csr,
      ttlMs: svidTtlMs,
      requester: agent.spiffeId.toString(),
    });
    this.#logger.info('certificate renewed', {
      node: agent.node,
      spiffe_id: agent.spiffeId.toString(),
      serial: issued.serialNumber,
      not_after: issued.notAfter.toISOString(),
    });
    return this.#svidAnswer(issued);
  }

  async workloadToken(agent: Agent, workload: string): Promise<{ token: string; expiresAtMs: bigint }> {
    this.#requireRate(this.#tokenLimit, agent.node);
    if (workload.length > maxWorkloadIdLength) {
      throw new CaError(
        'CA_REQUEST_INVALID',
        'expected the SPIFFE ID of a workload, got something longer than one can be',
      );
    }
    const { node, keyThumbprint: confirmationKey } = agent;
    const { token, expiresAt } = await this.#options.tokens.issue({ node, workload, confirmationKey });
    return { token, expiresAtMs: BigInt(expiresAt.getTime()) };
  }

  /** Runs `use` for the agent at the other end; refuses everybody else. */
  asAgent<T>(operation: CaOperation, context: HandlerContext, use: (agent: Agent) => Promise<T>): Promise<T> {
    const peer = this.#options.peerOf(context);
    const node = peer === undefined ? undefined : readAgentId(peer.spiffeId)?.node;
    return this.answer(operation, node, () => use(this.#requireAgent(peer, node)));
  }

  async answer<T>(operation: CaOperation, node: string | undefined, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      const refusal =
        error instanceof CaError
          ? error
          : new CaError('CA_INTERNAL', `unexpected: ${describeError(error)}`, { cause: error });
      await this.#report(operation, node, refusal);
      throw toWireError(refusal);
    }
  }

  #requireAgent(peer: CaPeer | undefined, node: string | undefined): Agent {
    if (peer === undefined) {
      throw new CaError('CA_UNAUTHENTICATED', 'this call needs a client certificate: the agent’s own SVID');
    }
    if (node === undefined || !peer.spiffeId.memberOf(this.#options.ca.trustDomain)) {
      const message = `${peer.spiffeId.toString()} is not an agent of trust domain ${this.#options.ca.trustDomain.name}`;
      throw new CaError('CA_NOT_AN_AGENT', message);
    }
    return { ...peer, node };
  }

  #requireKnown(node: string, consequence: string): void {
    if (this.#options.knowsNode?.(node) !== false) return;
    const message = `node ${node} is not part of the mesh, so ${consequence}`;
    throw new CaError('CA_NODE_UNKNOWN', message, { fields: { node } });
  }

  #requireRate(limit: TokenBuckets, node: string): void {
    if (limit.take(node)) return;
    throw new CaError('CA_RATE_LIMITED', `node ${node} asks too often; try again later`, { fields: { node } });
  }

  #svidAnswer({ certificates, notAfter }: IssuedX509Svid): SvidAnswer {
    const { notAfter: end } = this.#options.ca.externalRoot.status;
    // Louder the shorter they get: each one comes back sooner than the one before.
    if (notAfter.getTime() === end.getTime()) {
      this.#logger.warn('certificates are cut short: the CA itself ends; rotate its root', {
        ca_ends: end.toISOString(),
      });
    }
    return { svid: { certificates: [...certificates] }, bundle: JSON.stringify(this.#options.ca.bundle.current) };
  }

  async #report(operation: CaOperation, verifiedNode: string | undefined, refusal: CaError): Promise<void> {
    const named = refusal.fields['node'];
    const node = verifiedNode ?? (typeof named === 'string' ? named : undefined);
    const reason = describeError(refusal);
    const line = refusal.code === 'CA_INTERNAL' || refusal.code === 'CA_STORE_FAILED' ? 'error' : 'warn';
    this.#logger[line]('certificate request refused', { operation, node, code: refusal.code, reason });
    notify(this.#observer, { type: 'ca-refused', operation, code: refusal.code, reason, node });
    const who = verifiedNode === undefined ? 'unauthenticated' : `node ${verifiedNode}`;
    await this.#refusals.add({ event: 'refused', operation, who, node, code: refusal.code, why: refusal.message });
  }
}

interface SvidAnswer {
  readonly svid: { readonly certificates: Uint8Array[] };
  readonly bundle: string;
}

function attestorsOf({ joinTokens, attestors = [] }: CaRoutesOptions): ReadonlyMap<string, Attestor> {
  const all = joinTokens === undefined ? attestors : [joinTokenAttestor(joinTokens), ...attestors];
  const byType = new Map(all.map((attestor) => [attestor.type, attestor]));
  if (byType.size === all.length && !byType.has('')) return byType;
  throw new CaError('CA_REQUEST_INVALID', 'expected attestors with a type each, and no two of the same');
}

function evidenceOf({ joinToken, evidence }: JoinRequest): AttestationEvidence {
  if (evidence === undefined) return { type: joinTokenEvidence, value: joinToken };
  if (joinToken === '') return evidence;
  throw new CaError('CA_ATTESTATION_UNKNOWN', 'expected either a join token or other evidence, got both');
}

/** The type is not repeated: it comes from a caller that is not known. */
function unknownEvidence(type: string): CaError {
  return type === joinTokenEvidence
    ? new CaError('CA_JOIN_TOKEN_UNKNOWN', 'this CA takes no join tokens')
    : new CaError('CA_ATTESTATION_UNKNOWN', 'this CA takes no evidence of this type');
}

function agentIdOf(ca: SpiffeCA, node: string): SpiffeId {
  try {
    return agentId(ca.trustDomain, node);
  } catch (cause) {
    const message = 'expected the attested name of a node to be one segment of a SPIFFE ID';
    throw new CaError('CA_ATTESTATION_REFUSED', message, { cause });
  }
}
