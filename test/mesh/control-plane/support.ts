import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import * as tls from 'node:tls';
import { onTestFinished } from 'vitest';
import { CaClient, SpiffeCA, SvidRenewer, caRoutes, localGrants } from 'meshwright/ca';
import type { Attestor, JoinTokens, WorkloadRegistry } from 'meshwright/ca';
import { LatestValueCell, formatSocketAddress } from 'meshwright/core';
import { ControlPlaneServer, controlPlaneTransport, peerOf } from 'meshwright/mesh';
import type { ClosableTransport, ControlPlaneServerOptions, ControlPlaneTransportOptions } from 'meshwright/mesh';
import { SpiffeId, X509Svid, controllerId } from 'meshwright/spiffe';
import type { TrustBundle } from 'meshwright/spiffe';
import { recordingLogger } from '../../ca/support.js';
import type { LogLine } from '../../ca/support.js';

export const web = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/web');

export interface ControlPlane {
  readonly ca: SpiffeCA;
  readonly joinTokens: JoinTokens;
  /** What the server verifies clients against. */
  readonly bundle: LatestValueCell<TrustBundle>;
  readonly server: ControlPlaneServer;
  /** `ip:port`. */
  readonly address: string;
  readonly lines: LogLine[];
  svid(spiffeId: SpiffeId | string, ttlMs?: number): Promise<X509Svid>;
  /** A transport as an agent with this SVID; closed with the test. */
  transport(
    svid: ControlPlaneTransportOptions['svid'],
    options?: Partial<ControlPlaneTransportOptions>,
  ): ClosableTransport;
  client(transport: ClosableTransport): CaClient;
}

export interface ControlPlaneSetup extends Partial<ControlPlaneServerOptions> {
  readonly serverId?: string;
  readonly svidTtlMs?: number;
  readonly tokenTtlMs?: number;
  readonly registry?: WorkloadRegistry;
  readonly attestors?: readonly Attestor[];
  /** Default: a new one with a root of its own. */
  readonly ca?: SpiffeCA;
}

export async function svidFrom(ca: SpiffeCA, spiffeId: SpiffeId | string, ttlMs?: number): Promise<X509Svid> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await ca.issueX509Svid({ spiffeId, publicKey, ttlMs });
  return X509Svid.fromPem({ chainPem, privateKey });
}

/** A CA and the server in front of it, on loopback, gone with the test. */
export async function controlPlane(setup: ControlPlaneSetup = {}): Promise<ControlPlane> {
  const {
    serverId,
    svidTtlMs,
    tokenTtlMs,
    registry = { runsOn: () => true },
    attestors,
    ca: _ca,
    ...serverOptions
  } = setup;
  const ca = setup.ca ?? (await SpiffeCA.create({ trustDomain: 'cluster.local' }));
  const joinTokens = await ca.joinTokens();
  const { logger, lines } = recordingLogger();
  const bundle = new LatestValueCell(ca.bundle.current);
  const own = localGrants(ca, serverId === undefined ? controllerId(ca.trustDomain) : SpiffeId.parse(serverId));
  const renewer = await SvidRenewer.start({
    spiffeId: serverId === undefined ? controllerId(ca.trustDomain) : SpiffeId.parse(serverId),
    attest: own,
    renew: () => own,
  });
  const limits = { svid: { burst: 1000, perSecond: 1000 }, workloadToken: { burst: 1000, perSecond: 1000 } };
  const tokens = ca.tokens({ registry, ttlMs: tokenTtlMs });
  const server = await ControlPlaneServer.listen({
    port: 0,
    svid: renewer.svid,
    bundle,
    routes: [caRoutes({ ca, tokens, joinTokens, attestors, peerOf, svidTtlMs, limits, logger })],
    logger,
    ...serverOptions,
  });
  onTestFinished(async () => {
    server.destroy();
    await server.close();
    await renewer.close();
  });
  const address = formatSocketAddress(server.address);
  return {
    ca,
    joinTokens,
    bundle,
    server,
    address,
    lines,
    svid: (spiffeId, ttlMs) => svidFrom(ca, spiffeId, ttlMs),
    transport: (svid, options = {}) => {
      const made = controlPlaneTransport({
        address,
        svid,
        bundle: ca.bundle,
        controller: controllerId(ca.trustDomain),
        ...options,
      });
      onTestFinished(() => made.destroy());
      return made;
    },
    client: (transport) => new CaClient({ transport, trustDomain: ca.trustDomain, timeoutMs: 5000 }),
  };
}

export interface RawResult {
  /** Everything that the server sent after the handshake. */
  readonly received: Buffer;
  readonly alpn: string | false | null;
  readonly handshake: boolean;
}

/** Connects with plain TLS, writes `bytes`, and resolves when the server has closed the connection. */
export function rawTls(address: string, options: tls.ConnectionOptions, bytes?: Uint8Array): Promise<RawResult> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    let handshake = false;
    let alpn: string | false | null = null;
    const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, ...options }, () => {
      handshake = true;
      alpn = socket.alpnProtocol;
      if (bytes !== undefined) socket.write(bytes);
    });
    socket.on('data', (chunk: Buffer) => void received.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve({ received: Buffer.concat(received), alpn, handshake }));
  });
}

/** `openssl s_client` to `address`: what it prints. Not synchronous, since the server runs in this very process. */
export function sClient(address: string, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('openssl', ['s_client', '-connect', address, ...args], (_error, stdout) => resolve(stdout));
    child.stdin?.end();
  });
}
