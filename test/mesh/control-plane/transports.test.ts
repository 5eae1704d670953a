import { generateKeyPairSync } from 'node:crypto';
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { ConnectRouter } from '@connectrpc/connect';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CaClient, SpiffeCA, createCsr } from 'meshwright/ca';
import { LatestValueCell } from 'meshwright/core';
import { controlPlaneTransport, joinTransport } from 'meshwright/mesh';
import { TrustBundle, TrustDomain, controllerId } from 'meshwright/spiffe';
import type { X509Svid } from 'meshwright/spiffe';
import { CaService } from '../../../src/ca/gen/ca_pb.js';
import { codeOf, until } from '../../ca/support.js';
import { controlPlane, svidFrom, web } from './support.js';

const agentA = 'spiffe://cluster.local/agent/node-a';
const trustDomain = TrustDomain.parse('cluster.local');
const newCsr = (): Promise<Uint8Array> => createCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);

/** A TLS server that remembers every byte it was sent after the handshake. */
async function listener(
  svid: X509Svid,
  options: tls.TlsOptions = {},
): Promise<{ address: string; bytes: () => number }> {
  let bytes = 0;
  const server = tls.createServer({ cert: svid.chainPem, key: svid.privateKeyPem, ALPNProtocols: ['h2'], ...options });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => void (bytes += chunk.length));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return { address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`, bytes: () => bytes };
}

async function reasonOf(client: CaClient, close: () => Promise<void>): Promise<string> {
  const error: unknown = await client.renew({ csr: await newCsr() }).catch((thrown: unknown) => thrown);
  await close();
  let cause: unknown = error;
  while (cause instanceof Error && !String((cause as { code?: unknown }).code).startsWith('MESH_')) cause = cause.cause;
  return String((cause as { code?: unknown }).code);
}

describe('controlPlaneTransport', () => {
  it('sends nothing to a server that is not exactly the controller', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const stranger = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const controller = 'spiffe://cluster.local/controller';
    const good = await svidFrom(ca, controller);
    const servers = [
      [await listener(await svidFrom(ca, 'spiffe://cluster.local/agent/node-b')), 'MESH_CONTROL_PLANE_NOT_CONTROLLER'],
      [await listener(await svidFrom(ca, 'spiffe://cluster.local/controller/x')), 'MESH_CONTROL_PLANE_NOT_CONTROLLER'],
      [await listener(await svidFrom(stranger, controller)), 'MESH_CONTROL_PLANE_UNTRUSTED'],
      [await listener(good, { maxVersion: 'TLSv1.2' }), 'MESH_CONTROL_PLANE_UNREACHABLE'],
      [await listener(good, { ALPNProtocols: [] }), 'MESH_CONTROL_PLANE_PROTOCOL'],
    ] as const;
    const svid = await svidFrom(ca, agentA);
    for (const [{ address, bytes }, code] of servers) {
      const transport = controlPlaneTransport({
        address,
        svid,
        bundle: ca.bundle,
        controller: controllerId(trustDomain),
      });
      expect(await reasonOf(new CaClient({ transport, trustDomain }), transport.close)).toBe(code);
      expect(bytes()).toBe(0);
    }
  });

  it('does not dial with an SVID that ended, and gives up on a server that is silent or absent', async () => {
    const plane = await controlPlane();
    const short = await plane.svid(agentA, 2000);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, short.notAfter.getTime() - Date.now() + 20)));
    const expired = plane.transport(short);
    expect(await reasonOf(plane.client(expired), expired.close)).toBe('MESH_CONTROL_PLANE_SVID_EXPIRED');
    const silent = net.createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void silent.close());
    await new Promise((resolve) => silent.once('listening', resolve));
    const svid = await plane.svid(agentA);
    for (const port of [(silent.address() as net.AddressInfo).port, 1]) {
      const transport = plane.transport(svid, { address: `127.0.0.1:${String(port)}`, connectTimeoutMs: 200 });
      expect(await reasonOf(plane.client(transport), transport.close)).toBe('MESH_CONTROL_PLANE_UNREACHABLE');
    }
  });

  it('uses one connection, and another one once the SVID was rotated', async () => {
    const plane = await controlPlane();
    const source = new LatestValueCell(await plane.svid(agentA));
    const client = plane.client(plane.transport(source));
    await Promise.all([1, 2, 3, 4].map(() => client.issueWorkloadToken(web)));
    expect(plane.server.peers).toHaveLength(1);
    const watch = client.watchBundle();
    await watch.next();
    source.set(await plane.svid(agentA));
    const { token } = await client.issueWorkloadToken(web);
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as object;
    expect(claims).toMatchObject({ cnf: { jkt: source.current.keyThumbprint } });
    // The watch goes on where it was.
    expect(plane.server.peers).toHaveLength(2);
    await watch.return?.(undefined);
  });

  it('connects again after the controller was gone', async () => {
    const first = await controlPlane();
    const { port } = first.server.address;
    const client = first.client(first.transport(await first.svid(agentA)));
    await client.renew({ csr: await newCsr() });
    await first.server.close();
    const csr = await newCsr();
    expect(await codeOf(() => client.renew({ csr }))).toBe('CA_UNAVAILABLE');
    const { caRoutes } = await import('meshwright/ca');
    const { ControlPlaneServer, peerOf } = await import('meshwright/mesh');
    const tokens = first.ca.tokens({ registry: { runsOn: () => true } });
    const second = await ControlPlaneServer.listen({
      port,
      svid: await first.svid('spiffe://cluster.local/controller'),
      bundle: first.ca.bundle,
      routes: [caRoutes({ ca: first.ca, tokens, peerOf })],
    });
    onTestFinished(() => second.close());
    await client.renew({ csr });
  });

  it('drops a connection when the bundle stops vouching for the controller', async () => {
    const plane = await controlPlane();
    const bundle = new LatestValueCell(plane.ca.bundle.current);
    const watch = plane.client(plane.transport(await plane.svid(agentA), { bundle })).watchBundle();
    await watch.next();
    bundle.set((await SpiffeCA.create({ trustDomain: 'cluster.local' })).bundle.current);
    expect(await codeOf(() => watch.next())).toBe('CA_UNAVAILABLE');
  });

  it('ends a call that was not answered at all when it drops the connection', async () => {
    const silent = (router: ConnectRouter): void =>
      void router.service(CaService, {
        async *watchBundle(_request, { signal }) {
          await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        },
      });
    const plane = await controlPlane({ routes: [silent] });
    const bundle = new LatestValueCell(plane.ca.bundle.current);
    const transport = plane.transport(await plane.svid(agentA), { bundle });
    for (const drop of [
      () => bundle.set(TrustBundle.create({ trustDomain, x509Authorities: [] })),
      () => transport.destroy(),
    ]) {
      bundle.set(plane.ca.bundle.current);
      const ended = codeOf(() => plane.client(transport).watchBundle().next());
      await until(() => plane.server.peers.length === 1);
      await new Promise((resolve) => setTimeout(resolve, 100));
      drop();
      const late = new Promise<string>((resolve) => setTimeout(() => resolve('not within a second'), 1000));
      expect(await Promise.race([ended, late])).toBe('CA_UNAVAILABLE');
      await until(() => plane.server.peers.length === 0);
    }
  });

  it('refuses work once it is closed', async () => {
    const plane = await controlPlane();
    const transport = plane.transport(await plane.svid(agentA));
    const client = plane.client(transport);
    await client.issueWorkloadToken(web);
    await transport.close();
    await transport.close();
    expect(await reasonOf(client, transport.close)).toBe('MESH_CONTROL_PLANE_CLOSED');
  });
});

describe('joinTransport', () => {
  it('sends nothing unless the chain holds the pinned root and the leaf is the controller under it', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const stranger = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const foreign = await SpiffeCA.create({ trustDomain: 'other.local' });
    const root = ca.bundle.current.x509AuthoritiesPem.join('');
    const withRoot = (svid: X509Svid, pem = root): tls.TlsOptions => ({ cert: `${svid.chainPem}${pem}` });
    const controller = 'spiffe://cluster.local/controller';
    const forged = await svidFrom(stranger, controller);
    const agent = await svidFrom(ca, agentA);
    const good = await svidFrom(ca, controller);
    const cases = [
      [ca.rootPin, await listener(good), 'MESH_CONTROL_PLANE_PIN_MISMATCH'],
      [stranger.rootPin, await listener(good, withRoot(good)), 'MESH_CONTROL_PLANE_PIN_MISMATCH'],
      [
        ca.rootPin,
        await listener(forged, withRoot(forged, stranger.bundle.current.x509AuthoritiesPem[0])),
        'MESH_CONTROL_PLANE_PIN_MISMATCH',
      ],
      [ca.rootPin, await listener(agent, withRoot(agent)), 'MESH_CONTROL_PLANE_NOT_CONTROLLER'],
    ] as const;
    for (const [rootPin, { address, bytes }, code] of cases) {
      const transport = joinTransport({ address, rootPin, trustDomain });
      expect(await reasonOf(new CaClient({ transport, trustDomain }), transport.close)).toBe(code);
      expect(bytes()).toBe(0);
    }
    const other = await svidFrom(foreign, 'spiffe://other.local/controller');
    const { address } = await listener(other, withRoot(other, foreign.bundle.current.x509AuthoritiesPem[0]));
    const transport = joinTransport({ address, rootPin: foreign.rootPin, trustDomain });
    expect(await reasonOf(new CaClient({ transport, trustDomain }), transport.close)).toBe(
      'MESH_CONTROL_PLANE_UNTRUSTED',
    );
  });
});
