/** The virtual IPs of the reference agent: served first, then announced. Composition only. */
import { readFile } from 'node:fs/promises';
import { closeAll } from 'meshwright/core';
import type { Closable, LeaseStore, Logger } from 'meshwright/core';
import { EtcdLeaseStore } from 'meshwright/etcd';
import { ControllerLeaseStore, VipIngress, VipRunner } from 'meshwright/mesh';
import type { ClosableTransport, MeshViews, PlaintextPath, VipReport } from 'meshwright/mesh';
import type { MeshMetrics } from 'meshwright/telemetry';
import { dialUpstream } from 'meshwright/tproxy';
import type { Interception } from 'meshwright/tproxy';
import { VipManager } from 'meshwright/vip';
import type { AgentConfig } from './config.js';

export interface VipSurroundings {
  readonly views: MeshViews;
  readonly plaintext: PlaintextPath;
  readonly interception: Interception;
  /** To the controller. */
  readonly transport: ClosableTransport;
  readonly metrics: MeshMetrics;
  readonly logger: Logger;
}

export async function startVips(
  config: AgentConfig,
  { views, plaintext, interception, transport, metrics, logger }: VipSurroundings,
): Promise<Pick<Closable, 'close'> & { report(): VipReport }> {
  const { node, vips } = config;
  const { leases, close: closeLeases } = await openLeases(config, transport);
  const passwords = await routerPasswords(config);
  const ingress = new VipIngress({
    views,
    plaintext,
    dial: ({ destination, sourceIp, signal }) =>
      dialUpstream({
        destination,
        // Only TPROXY rules bring the replies to a kept source address back to us.
        sourceIp: interception.describe().mode === 'tproxy' ? sourceIp : undefined,
        mark: config.interception.marks.upstream.mark,
        timeoutMs: 10_000,
        signal,
      }),
    logger,
  });
  const runner = new VipRunner({
    node,
    views,
    serving: ingress.serving,
    bgp: { listen: vips.listen, passwords },
    start: () =>
      VipManager.create({
        node,
        leases,
        l2: { interface: vips.interface },
        addressDevice: vips.device,
        quiesce: (address, options) => ingress.quiesce(address, options),
        logger,
        observer: metrics.observers.vip,
      }),
    logger,
  });
  return { report: () => runner.report(), close: () => closeAll([{ close: closeLeases }, ingress, runner]) };
}

async function routerPasswords(config: AgentConfig): Promise<ReadonlyMap<string, string>> {
  const entries = Object.entries(config.vips.passwordFiles).map(
    async ([router, file]) => [router, (await readFile(file, 'utf8')).trim()] as const,
  );
  return new Map(await Promise.all(entries));
}

/** Who owns which layer 2 address. */
async function openLeases(
  config: AgentConfig,
  transport: ClosableTransport,
): Promise<{ readonly leases: LeaseStore; close(): Promise<void> }> {
  const { etcd } = config.vips;
  if (etcd === undefined) return { leases: new ControllerLeaseStore({ transport }), close: () => Promise.resolve() };
  const { endpoints, caFile, certFile, keyFile } = etcd;
  const text = (file: string | undefined): Promise<string | undefined> =>
    file === undefined ? Promise.resolve(undefined) : readFile(file, 'utf8');
  const [ca, cert, key] = await Promise.all([text(caFile), text(certFile), text(keyFile)]);
  const leases = new EtcdLeaseStore({
    endpoints,
    tls: endpoints.some((url) => url.startsWith('https:')) ? { ca, cert, key } : undefined,
  });
  return { leases, close: () => leases.close() };
}
