/**
 * The reference controller: reads manifests, issues certificates and tokens, and sends each agent the snapshot of its
 * node. Composition only; every part is a public export of the package.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  SpiffeCA,
  SvidRenewer,
  caAdminCalls,
  caRoutes,
  fileAuditLog,
  fileStore,
  kubernetesTokenAttestor,
  localGrants,
} from 'meshwright/ca';
import type { Attestor, FileAuditLog } from 'meshwright/ca';
import { MemoryLeaseStore, closeAll } from 'meshwright/core';
import type { Closable, Logger } from 'meshwright/core';
import { ManifestDirectory } from 'meshwright/kubernetes';
import {
  AdminSocket,
  ControlPlaneServer,
  leaseRoutes,
  nextFencingFloor,
  peerOf,
  scopeToNode,
  vipLeases,
  workloadRegistry,
} from 'meshwright/mesh';
import type { MeshState } from 'meshwright/mesh';
import { SnapshotPublisher, snapshotRoutes } from 'meshwright/snapshot';
import { TrustDomain, controllerId } from 'meshwright/spiffe';
import { controllerMetrics, metricsServer } from 'meshwright/telemetry';
import type { ControllerConfig } from './config.js';

/** Of the virtual IPs on layer 2: what agents ask for, and a margin for their clocks. */
const longestLeaseMs = 1_300;

export async function startController(config: ControllerConfig, logger: Logger): Promise<Closable> {
  const parts: (Pick<Closable, 'close'> & Partial<Closable>)[] = [];
  const end = (drainTimeoutMs: number): Promise<void> => closeAll(parts, { drainTimeoutMs });
  const close = (): Promise<void> => end(2_000);
  try {
    const metrics = controllerMetrics();
    const trustDomain = TrustDomain.parse(config.trustDomain);
    const caDirectory = join(config.data, 'ca');
    let audit: FileAuditLog | undefined;
    const ca = await SpiffeCA.openOrCreate({
      trustDomain,
      svidTtlMs: config.svidTtlMs,
      store: fileStore({
        directory: caDirectory,
        key: { file: await keyFile(config) },
        adminSocket: config.admin,
      }),
      audit: async () => (audit = await fileAuditLog({ file: join(caDirectory, 'audit.jsonl') })),
      observer: metrics.observers.ca,
    });
    parts.push(ca);
    const joinTokens = await ca.joinTokens();

    const manifests = await ManifestDirectory.open({
      directory: config.manifests,
      trustDomain: config.trustDomain,
      settings: {
        defaultAction: config.defaultAction,
        hostTraffic: config.hostTraffic,
        meshwrightDialect: config.meshwrightDialect,
      },
      dataDirectory: join(config.data, 'manifests'),
      logger,
    });
    parts.push(manifests);

    const publisher = new SnapshotPublisher<MeshState>({ observer: metrics.observers.snapshot });
    const publish = (state: MeshState): void => {
      publisher.publishAll(state.nodes.map(({ name }) => [name, scopeToNode(state, name)] as const));
    };
    publish(manifests.state.current);
    manifests.state.subscribe(publish);

    const id = controllerId(trustDomain);
    const issueOwn = localGrants(ca, id, { ttlMs: config.svidTtlMs });
    const own = await SvidRenewer.start({
      spiffeId: id,
      attest: issueOwn,
      renew: () => issueOwn,
      // Before anybody else: an agent that no longer trusts the old root must find us under the new one.
      rootChangeSpreadMs: 0,
      logger,
      observer: metrics.observers.ca,
    });
    parts.push(own);
    ca.bundle.subscribe((bundle) => void own.acceptBundle(bundle));
    const tokens = ca.tokens({ registry: workloadRegistry(manifests.state), ttlMs: config.tokenTtlMs });
    const server = await ControlPlaneServer.listen({
      ...config.listen,
      svid: own.svid,
      bundle: ca.bundle,
      routes: [
        caRoutes({
          ca,
          tokens,
          joinTokens,
          attestors: await attestors(config, ca, logger),
          peerOf,
          knowsNode: (node) => manifests.state.current.nodes.some(({ name }) => name === node),
          logger,
          observer: metrics.observers.ca,
        }),
        snapshotRoutes({ publisher, peerOf, logger, observer: metrics.observers.snapshot }),
        leaseRoutes({
          leases: new MemoryLeaseStore({ fencingFloor: await nextFencingFloor(join(config.data, 'leases')) }),
          // Leases end with the controller, but their holders do not know that yet.
          graceMs: longestLeaseMs,
          mayHold: vipLeases(manifests.state),
          peerOf,
          logger,
        }),
      ],
      logger,
      observer: metrics.observers.controlPlane,
    });
    parts.push(server);

    parts.push(
      await metricsServer({ ...config.metrics, registry: metrics.registry }),
      await AdminSocket.listen({
        path: config.admin,
        logger,
        calls: {
          status: () => ({ nodes: publisher.statuses(), problems: manifests.problems.current }),
          'join-token': (body) => joinTokens.create({ node: nodeOf(body), by: 'admin socket' }),
          ...caAdminCalls({ ca, audit, who: 'admin socket' }),
        },
      }),
    );
    logger.info('ready', { listen: config.listen, manifests: config.manifests });
    return { close, destroy: () => void end(0), [Symbol.asyncDispose]: close };
  } catch (error) {
    await end(0);
    throw error;
  }
}

/** Other ways to join than join tokens. */
async function attestors(config: ControllerConfig, ca: SpiffeCA, logger: Logger): Promise<readonly Attestor[]> {
  if (config.kubernetesJoin === undefined) return [];
  const { server, jwksFile, audience, ...policy } = config.kubernetesJoin;
  const { caFile, tokenFile } = server ?? {};
  const attestor = kubernetesTokenAttestor({
    ...policy,
    audience: audience ?? controllerId(ca.trustDomain).toString(),
    server: server && {
      url: server.url,
      ca: caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
      bearerToken: tokenFile === undefined ? undefined : () => readFile(tokenFile, 'utf8'),
    },
    jwks: jwksFile === undefined ? undefined : async () => JSON.parse(await readFile(jwksFile, 'utf8')) as unknown,
    used: await ca.usedEvidence(),
    logger,
  });
  return [attestor];
}

/** The key that encrypts the CA's store, made at the first start: 32 random bytes as base64. */
async function keyFile(config: ControllerConfig): Promise<string> {
  const path = config.keyFile ?? join(config.data, 'ca.key');
  try {
    await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || config.keyFile !== undefined) throw error;
    await mkdir(config.data, { recursive: true, mode: 0o700 });
    await writeFile(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
  }
  return path;
}

function nodeOf(body: unknown): string {
  const node = (body as { readonly node?: unknown } | undefined)?.node;
  if (typeof node !== 'string' || node === '') throw new Error('expected { "node": "<name>" }');
  return node;
}
