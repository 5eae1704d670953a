/** How a node of a test mesh comes by its certificate, the bundle and tokens. */
import { generateKeyPairSync } from 'node:crypto';
import { CaClient, SvidRenewer, WorkloadTokenCache, followBundle } from '../ca/index.js';
import type { JoinToken, SpiffeCA, WorkloadTokenIssuer } from '../ca/index.js';
import { LatestValueCell } from '../core/index.js';
import type { Clock, Logger } from '../core/index.js';
import { controlPlaneTransport, joinTransport } from '../mesh/index.js';
import type { ClosableTransport } from '../mesh/index.js';
import { X509Svid, agentId, controllerId } from '../spiffe/index.js';
import type { BundleSource, SpiffeId, SvidSource, TrustDomain, WorkloadTokenSource } from '../spiffe/index.js';

export interface TestNodeIdentity {
  readonly svid: SvidSource;
  readonly bundle: BundleSource;
  readonly tokens: WorkloadTokenSource;
  /** Gets a new key and certificate now. */
  renew(): Promise<void>;
  /** Calls `listener` after there is a fresh token. */
  onFreshToken(listener: () => void): void;
  close(): Promise<void>;
}

/** Straight from the CA, by the test's clock; renewed when the test says so. */
export async function handedIdentity(options: {
  readonly name: string;
  readonly ca: SpiffeCA;
  readonly issuer: WorkloadTokenIssuer;
  readonly clock: Clock;
}): Promise<TestNodeIdentity> {
  const { name, ca, issuer, clock } = options;
  const svid = new LatestValueCell(await issueAgentSvid(ca, name));
  return {
    svid,
    bundle: ca.bundle,
    tokens: new HandedTokens(issuer, name, clock),
    renew: async () => svid.set(await issueAgentSvid(ca, name)),
    onFreshToken: () => undefined,
    close: () => Promise.resolve(),
  };
}

/** As an agent has it: joins a controller by a join token, renews by itself, and follows the bundle. By the real clock. */
export async function joinedIdentity(options: {
  readonly name: string;
  readonly trustDomain: TrustDomain;
  /** `ip:port` of the control plane. */
  readonly address: string;
  readonly joinToken: JoinToken;
  readonly logger: Logger;
}): Promise<TestNodeIdentity> {
  const { name, trustDomain, address, joinToken, logger } = options;
  const controller = controllerId(trustDomain);
  const connect = (
    svid: X509Svid | SvidSource,
    bundle: BundleSource,
  ): { client: CaClient; transport: ClosableTransport } => {
    const transport = controlPlaneTransport({ address, svid, bundle, controller });
    return { transport, client: new CaClient({ transport, trustDomain, timeoutMs: 5_000 }) };
  };
  let control: ReturnType<typeof connect> | undefined;
  let prepare = (_candidate: X509Svid, _signal: AbortSignal): Promise<void> => Promise.resolve();
  const renewer = await SvidRenewer.start({
    spiffeId: agentId(trustDomain, name),
    attest: async (csr, call) => {
      const transport = joinTransport({ address, rootPin: joinToken.rootPin, trustDomain });
      try {
        return await new CaClient({ transport, trustDomain }).join({ token: joinToken.token, csr }, call);
      } finally {
        await transport.close();
      }
    },
    renew: ({ svid, bundle }) => {
      const own = (control = connect(svid, bundle));
      return (csr, call) => own.client.renew({ csr }, call);
    },
    beforePublish: (candidate, signal) => prepare(candidate, signal),
    logger,
  });
  const { svid, bundle } = renewer;
  const { client, transport } = control ?? connect(svid, bundle);
  const tokens = await WorkloadTokenCache.open({
    request: (workload, call) => client.issueWorkloadToken(workload, call),
    svid,
    bundle,
    logger,
  });
  prepare = async (candidate, signal) => {
    const next = connect(candidate, bundle);
    try {
      const { keyThumbprint } = candidate;
      const request = (workload: SpiffeId, call: { readonly signal: AbortSignal }) =>
        next.client.issueWorkloadToken(workload, call);
      await tokens.prefetch(tokens.workloads, { keyThumbprint, request, signal });
    } finally {
      await next.transport.close();
    }
  };
  const stopped = new AbortController();
  const following = followBundle({
    watch: (call) => client.watchBundle(call),
    onBundle: (next) => renewer.acceptBundle(next),
    signal: stopped.signal,
    svid,
    logger,
  });
  return {
    svid,
    bundle,
    tokens,
    renew: () => renewer.renewNow(),
    onFreshToken: (listener) => void tokens.onRefresh(listener),
    close: async () => {
      stopped.abort();
      renewer.destroy();
      transport.destroy();
      await Promise.all([renewer.close(), tokens.close(), following]);
    },
  };
}

/** Renewed at half life. */
class HandedTokens implements WorkloadTokenSource {
  readonly #issuer: WorkloadTokenIssuer;
  readonly #node: string;
  readonly #clock: Clock;
  readonly #held = new Map<string, { readonly token: string; readonly refreshAtMs: number }>();

  constructor(issuer: WorkloadTokenIssuer, node: string, clock: Clock) {
    this.#issuer = issuer;
    this.#node = node;
    this.#clock = clock;
  }

  async token(workload: SpiffeId, options: { readonly keyThumbprint: string }): Promise<string> {
    const key = `${workload.toString()} ${options.keyThumbprint}`;
    const held = this.#held.get(key);
    const now = this.#clock.now();
    if (held !== undefined && held.refreshAtMs > now) return held.token;
    const { token, expiresAt } = await this.#issuer.issue({
      node: this.#node,
      workload,
      confirmationKey: options.keyThumbprint,
    });
    this.#held.set(key, { token, refreshAtMs: now + (expiresAt.getTime() - now) / 2 });
    return token;
  }
}

async function issueAgentSvid(ca: SpiffeCA, node: string): Promise<X509Svid> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issued = await ca.issueX509Svid({ spiffeId: agentId(ca.trustDomain, node), publicKey });
  return X509Svid.fromPem({ chainPem: issued.chainPem, privateKey });
}
