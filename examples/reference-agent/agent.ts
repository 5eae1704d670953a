/**
 * The reference agent: one on each node. Composition only; every part is a public export of the package.
 *
 * The order matters: an identity first, then the listeners, and only then the kernel rules that send traffic to them.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CaClient,
  SvidRenewer,
  WorkloadTokenCache,
  followBundle,
  kubernetesTokenFile,
  rootPinFile,
  secretFile,
} from 'meshwright/ca';
import type { AttestationEvidence } from 'meshwright/ca';
import { closeAll } from 'meshwright/core';
import type { Closable, Logger } from 'meshwright/core';
import {
  AdminSocket,
  AgentIntrospection,
  EvidenceStore,
  InboundPath,
  InterceptionReconciler,
  LocalAuthenticator,
  OutboundPath,
  PeerAuthenticator,
  PlaintextPath,
  SourcePins,
  controlPlaneTransport,
  joinTransport,
  localPrincipals,
  parseMeshState,
  prepareMeshView,
  viewsOf,
} from 'meshwright/mesh';
import type { MeshState, MeshView } from 'meshwright/mesh';
import { SnapshotFileCache, SnapshotStore, SnapshotSubscriber } from 'meshwright/snapshot';
import { TrustDomain, agentId, authorizeAgent, controllerId } from 'meshwright/spiffe';
import type { BundleSource, SpiffeId, SvidSource, X509Svid } from 'meshwright/spiffe';
import { accessLog, combineObservers, meshMetrics, metricsServer } from 'meshwright/telemetry';
import { Interception, InterfaceMonitor, TproxyListener, dialUpstream, findHostInterface } from 'meshwright/tproxy';
import { Http2MtlsTunnel } from 'meshwright/tunnel';
import type { AgentConfig } from './config.js';
import { startVips } from './vips.js';

type Part = Pick<Closable, 'close'> & Partial<Closable>;

export async function startAgent(config: AgentConfig, logger: Logger): Promise<Closable> {
  const parts: Part[] = [];
  const stopped = new AbortController();
  const end = (drainTimeoutMs: number): Promise<void> => {
    stopped.abort(new Error('the agent is closing'));
    return closeAll(parts, { drainTimeoutMs });
  };
  const close = (): Promise<void> => end(config.drainTimeoutMs);
  try {
    const metrics = meshMetrics();
    const trustDomain = TrustDomain.parse(config.trustDomain);
    const { address } = config.controller;
    const connect = (svid: X509Svid | SvidSource, bundle: BundleSource) => {
      const transport = controlPlaneTransport({ address, svid, bundle, controller: controllerId(trustDomain) });
      return { transport, client: new CaClient({ transport, trustDomain }), close: () => transport.close() };
    };

    // Identity: from disk, else by join token or Kubernetes token; then renewed for ever.
    let control: ReturnType<typeof connect> | undefined;
    let prefetch = (_candidate: X509Svid, _signal: AbortSignal): Promise<void> => Promise.resolve();
    const renewer = await SvidRenewer.start({
      spiffeId: agentId(trustDomain, config.node),
      attest: async (csr, { signal }) => {
        const { evidence, rootPins } = await readEvidence(config);
        const transport = joinTransport({ address, rootPin: rootPins, trustDomain });
        try {
          return await new CaClient({ transport, trustDomain }).attest({ evidence, csr }, { signal });
        } finally {
          await transport.close();
        }
      },
      renew: ({ svid, bundle }) => {
        const own = (control = connect(svid, bundle));
        return (csr, options) => own.client.renew({ csr }, options);
      },
      beforePublish: (candidate, signal) => prefetch(candidate, signal),
      file: secretFile(join(config.data, 'identity.json')),
      logger,
      observer: metrics.observers.ca,
    });
    parts.push(renewer);
    if (control === undefined) throw new Error('the renewer has not asked for a control-plane connection');
    const { client: ca, transport } = control;
    parts.push(control);
    const { svid, bundle } = renewer;
    void followBundle({
      watch: ({ signal }) => ca.watchBundle({ signal }),
      onBundle: (next) => renewer.acceptBundle(next),
      signal: stopped.signal,
      svid,
      logger,
    });

    // Workload tokens: for every local workload, ahead of need, so that they are there when the controller is not.
    const tokens = await WorkloadTokenCache.open({
      request: (workload, options) => ca.issueWorkloadToken(workload, options),
      svid,
      bundle,
      file: secretFile(join(config.data, 'tokens.json')),
      logger,
      observer: metrics.observers.ca,
    });
    parts.push(tokens);
    let wanted = (): readonly SpiffeId[] => tokens.workloads;
    prefetch = async (candidate, signal) => {
      const next = connect(candidate, bundle);
      try {
        await tokens.prefetch(wanted(), {
          keyThumbprint: candidate.keyThumbprint,
          request: (workload, options) => next.client.issueWorkloadToken(workload, options),
          signal,
        });
      } finally {
        await next.close();
      }
    };

    // The data path.
    const store = new SnapshotStore<MeshState, MeshView>({ prepare: prepareMeshView(config.node), logger });
    const views = viewsOf(store);
    // Those too whose tokens ended while the controller was away: nobody may ask for them before it is away again.
    wanted = () => (views.current === undefined ? tokens.workloads : localPrincipals(views.current.index));
    const evidence = new EvidenceStore();
    const pins = new SourcePins();
    const observer = combineObservers(metrics.observers.mesh, accessLog(logger));
    const { backend, mode, failurePolicy, marks } = config.interception;
    const mark = marks.upstream.mark;
    const interception = await Interception.create({
      backend,
      mode,
      failurePolicy,
      marks,
      outboundPort: config.outbound.port,
      inboundPort: config.inbound.port,
      logger,
      observer: metrics.observers.tproxy,
    });
    const inbound = new InboundPath({
      views,
      evidence,
      authenticator: new PeerAuthenticator({
        bundle,
        evidence,
        knowsNode: (node) => views.current?.index.nodeNamed(node) !== undefined,
      }),
      dial: ({ destination, sourceIp, signal }) =>
        dialUpstream({
          destination,
          // Only TPROXY rules bring the replies to a kept source address back to us.
          sourceIp: interception.describe().mode === 'tproxy' ? sourceIp : undefined,
          mark,
          timeoutMs: 10_000,
          signal,
        }),
      ownPorts: [config.outbound.port, config.inbound.port, config.tunnel.port],
      logger,
      observer,
    });
    const plaintext = new PlaintextPath({ views, inbound, logger, observer });
    const server = await Http2MtlsTunnel.listen({
      ...config.tunnel,
      svid,
      bundle,
      authorizePeer: authorizeAgent(),
      onConnect: (request) => inbound.onConnect(request),
      onAnnounce: (announcement) => inbound.onAnnounce(announcement),
      logger,
      observer: metrics.observers.tunnel,
    });
    const client = Http2MtlsTunnel.client({ svid, bundle, logger, observer: metrics.observers.tunnel });
    const outbound = new OutboundPath({
      views,
      client,
      tokens,
      inbound,
      local: new LocalAuthenticator({ svid, bundle, tokens, evidence }),
      pins: config.trustNetworkForSource ? undefined : pins,
      logger,
      observer,
    });
    parts.push(inbound, server, client, outbound);
    tokens.onRefresh(() => void outbound.refreshEvidence());
    svid.subscribe(() => void outbound.refreshEvidence());

    const listen = (at: { readonly host: string; readonly port: number }, path: OutboundPath | PlaintextPath) =>
      TproxyListener.listen({
        ...at,
        mode,
        mark,
        onConnection: (captured) => void path.onConnection(captured),
        logger,
        observer: metrics.observers.tproxy,
      });
    parts.push(await listen(config.outbound, outbound), await listen(config.inbound, plaintext));

    // The kernel's rules follow the snapshots; both start from what is on disk.
    const reconciler = new InterceptionReconciler({
      views,
      rules: interception,
      pins,
      findInterface: async ({ hostInterface, addresses }) => {
        if (hostInterface !== undefined) return monitor.byName(hostInterface);
        return addresses[0] === undefined ? undefined : findHostInterface(addresses[0]);
      },
      logger,
    });
    const monitor = await InterfaceMonitor.start({ onChange: (change) => reconciler.interfaceChanged(change), logger });
    parts.push(interception, monitor, reconciler);
    views.subscribe(({ index }) => {
      const principals = localPrincipals(index);
      tokens.retain(principals);
      void tokens
        .prefetch(principals, { keyThumbprint: svid.current.keyThumbprint, signal: stopped.signal })
        .catch((error: unknown) => logger.warn('workload tokens not fetched ahead', { error: String(error) }));
    });
    const subscriber = await SnapshotSubscriber.open<MeshState>({
      transport,
      store,
      node: config.node,
      cache: new SnapshotFileCache({
        path: join(config.data, 'snapshot.json'),
        label: config.node,
        parse: parseMeshState,
        logger,
      }),
      logger,
      observer: metrics.observers.snapshot,
    });
    parts.push(subscriber);

    const vips = await startVips(config, { views, plaintext, interception, transport, metrics, logger });
    parts.push(vips);

    const introspection = new AgentIntrospection({
      node: config.node,
      svid,
      views,
      pins,
      renewAt: () => renewer.status.renewAt,
      controllerConnected: () => subscriber.status.current.connected,
      snapshot: () => store.current,
      interception: () => ({ ...interception.describe(), lastError: reconciler.lastError }),
      inbound: () => inbound.connections,
      outbound: () => outbound.connectionCount,
      sessions: () => [...server.sessions, ...client.sessions],
    });
    parts.push(
      await metricsServer({ ...config.metrics, registry: metrics.registry }),
      await AdminSocket.listen({
        path: config.admin,
        calls: {
          status: () => introspection.status(),
          tunnels: () => introspection.tunnels(),
          vips: () => vips.report(),
        },
        logger,
      }),
    );
    // Ready means: a snapshot is in force and the kernel's rules are those of that snapshot.
    await reconciler.applied({ signal: stopped.signal });
    logger.info('ready', { node: config.node, interception: interception.describe().mode });
    return { close, destroy: () => void end(0), [Symbol.asyncDispose]: close };
  } catch (error) {
    await end(0);
    throw error;
  }
}

/** Read for each attempt: a Kubernetes token is replaced in its file, and a join file may come late. */
async function readEvidence(
  config: AgentConfig,
): Promise<{ readonly evidence: AttestationEvidence; readonly rootPins: readonly string[] }> {
  if (config.kubernetesJoin !== undefined) {
    const { tokenFile, rootPinFile: pinFile } = config.kubernetesJoin;
    return { evidence: await kubernetesTokenFile(tokenFile)(), rootPins: await rootPinFile(pinFile)() };
  }
  if (config.joinFile === undefined) {
    throw new Error('this node has no certificate yet: set joinFile or kubernetesJoin');
  }
  const { token, rootPin } = JSON.parse(await readFile(config.joinFile, 'utf8')) as Record<string, unknown>;
  if (typeof token !== 'string' || typeof rootPin !== 'string') {
    throw new Error(`expected { "token", "rootPin" } in ${config.joinFile}: the output of "join-token"`);
  }
  return { evidence: { type: 'join-token', value: token }, rootPins: [rootPin] };
}
