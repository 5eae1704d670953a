import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CaClient, SpiffeCA, SvidRenewer, createCsr, followBundle } from 'meshwright/ca';
import { LatestValueCell, formatSocketAddress } from 'meshwright/core';
import { ControlPlaneServer, joinTransport } from 'meshwright/mesh';
import { SpiffeId, TrustBundle } from 'meshwright/spiffe';
import { codeOf, testDirectory, until } from '../../ca/support.js';
import { controlPlane, rawTls, sClient, svidFrom, web } from './support.js';
import type { ControlPlane } from './support.js';

const agentA = 'spiffe://cluster.local/agent/node-a';
const newCsr = (): Promise<Uint8Array> => createCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);

const refusals = ({ lines }: ControlPlane): readonly unknown[] =>
  lines.filter(({ message }) => message === 'control-plane connection refused').map(({ fields }) => fields['code']);

/** Shows that the server still does its work. */
async function works(plane: ControlPlane): Promise<void> {
  const client = plane.client(plane.transport(await plane.svid(agentA)));
  await client.issueWorkloadToken(web);
}

describe('ControlPlaneServer', () => {
  it('takes an agent by its SVID, and binds tokens to the key of the connection', async () => {
    const plane = await controlPlane();
    const svid = await plane.svid(agentA);
    const client = plane.client(plane.transport(svid));
    await client.renew({ csr: await newCsr() });
    const { token } = await client.issueWorkloadToken(web);
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as object;
    expect(claims).toMatchObject({ node: 'node-a', cnf: { jkt: svid.keyThumbprint } });
    expect(plane.server.peers.map(({ spiffeId }) => spiffeId.toString())).toEqual([agentA]);
  });

  it('lets a connection without a certificate join, and nothing else', async () => {
    const plane = await controlPlane();
    const { token, rootPin } = await plane.joinTokens.create({ node: 'node-a' });
    const transport = joinTransport({ address: plane.address, rootPin, trustDomain: plane.ca.trustDomain });
    const client = plane.client(transport);
    const csr = await newCsr();
    expect(await codeOf(() => client.renew({ csr }))).toBe('CA_UNAUTHENTICATED');
    expect(await codeOf(() => client.issueWorkloadToken(web))).toBe('CA_UNAUTHENTICATED');
    expect(await codeOf(() => client.watchBundle().next())).toBe('CA_UNAUTHENTICATED');
    await client.join({ token, csr });
    expect(await codeOf(() => client.join({ token, csr }))).toBe('CA_JOIN_TOKEN_USED');
    await transport.close();
  });

  it('presents the root with its chain, over TLS 1.3 and h2 only', async () => {
    const plane = await controlPlane();
    const file = join(testDirectory(), 'root.pem');
    writeFileSync(file, plane.ca.bundle.current.x509AuthoritiesPem.join(''));
    const shown = await sClient(plane.address, '-CAfile', file, '-showcerts', '-alpn', 'h2');
    expect(shown).toContain('Verify return code: 0 (ok)');
    expect(shown.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThanOrEqual(2);
    expect(shown).toContain('ALPN protocol: h2');
    expect((await rawTls(plane.address, { maxVersion: 'TLSv1.2', ALPNProtocols: ['h2'] })).handshake).toBe(false);
  });

  it('resumes no session, so that every connection shows its certificate', async () => {
    const plane = await controlPlane();
    const svid = await plane.svid(agentA);
    const [host, port] = plane.address.split(':');
    const common = { host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] };
    const sessions: Buffer[] = [];
    const first = tls.connect({ ...common, cert: svid.chainPem, key: svid.privateKeyPem });
    first.on('session', (session) => void sessions.push(session)).on('error', () => undefined);
    first.resume();
    await until(() => plane.server.peers.length === 1 && sessions.length > 0);
    first.destroy();
    for (const session of sessions) {
      const again = tls.connect({ ...common, session }).on('error', () => undefined);
      await new Promise((resolve) => again.once('secureConnect', resolve));
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    }
    await until(() => plane.server.peers.length === 0);
  });

  it('uses a rotated SVID for new connections', async () => {
    const { ca } = await controlPlane();
    const controller = 'spiffe://cluster.local/controller';
    const svid = new LatestValueCell(await svidFrom(ca, controller));
    const server = await ControlPlaneServer.listen({ port: 0, svid, bundle: ca.bundle, routes: [] });
    const leaf = async (): Promise<X509Certificate> => {
      const shown = await sClient(formatSocketAddress(server.address), '-showcerts', '-alpn', 'h2');
      return new X509Certificate(shown.slice(shown.indexOf('-----BEGIN')));
    };
    expect((await leaf()).raw.equals(svid.current.certificates[0] ?? new Uint8Array())).toBe(true);
    svid.set(await svidFrom(ca, controller));
    expect((await leaf()).raw.equals(svid.current.certificates[0] ?? new Uint8Array())).toBe(true);
    await server.close();
  });

  it('ends a connection whose certificate does not verify, before any request', async () => {
    const plane = await controlPlane();
    const stranger = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const foreign = await SpiffeCA.create({ trustDomain: 'other.local' });
    const short = await plane.svid(agentA, 2000);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, short.notAfter.getTime() - Date.now() + 20)));
    const bad = [await svidFrom(stranger, agentA), await svidFrom(foreign, 'spiffe://other.local/agent/node-a'), short];
    for (const svid of bad) {
      const before = refusals(plane).length;
      const options = { cert: svid.chainPem, key: svid.privateKeyPem, ALPNProtocols: ['h2'] };
      const { received } = await rawTls(plane.address, options, Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
      expect(received).toHaveLength(0);
      expect(refusals(plane).slice(before)).toEqual(['MESH_CONTROL_PLANE_UNTRUSTED']);
    }
    await works(plane);
  });

  it('ends live connections when the bundle no longer vouches for them, and when their certificate ends', async () => {
    const plane = await controlPlane();
    const watch = plane.client(plane.transport(await plane.svid(agentA))).watchBundle();
    await watch.next();
    const stranger = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    plane.bundle.set(stranger.bundle.current);
    expect(await codeOf(() => watch.next())).toBe('CA_UNAVAILABLE');
    expect(plane.server.peers).toEqual([]);
    plane.bundle.set(plane.ca.bundle.current);
    const short = await plane.svid(agentA, 3000);
    const second = plane.client(plane.transport(short)).watchBundle();
    await second.next();
    expect(await codeOf(() => second.next())).toBe('CA_UNAVAILABLE');
    expect(Date.now()).toBeGreaterThanOrEqual(short.notAfter.getTime());
    // Nothing else would end it.
    expect(Date.now() - short.notAfter.getTime()).toBeLessThan(5000);
  });

  it('tells a client that it is denied, and serves it nothing else, until it is not', async () => {
    const plane = await controlPlane({ limits: { unauthenticatedLifeMs: 1_000 } });
    const follow = plane.ca.bundle.subscribe((bundle) => plane.bundle.set(bundle));
    onTestFinished(() => follow[Symbol.dispose]());
    const svid = await plane.svid(agentA);
    const client = plane.client(plane.transport(svid, { bundle: plane.ca.bundle.current }));
    const live = client.watchBundle();
    await live.next();
    expect(plane.server.peers).toHaveLength(1);

    const value = svid.serialNumber;
    await plane.ca.denyList.deny({ kind: 'serial-number', value });
    expect(await codeOf(() => live.next())).toBe('CA_UNAVAILABLE');
    expect(plane.server.peers).toEqual([]);
    const told = client.watchBundle();
    expect((await told.next()).value?.denied.reasonFor(svid)).toBe(`serial number ${value} is denied`);
    expect(plane.server.peers).toEqual([]);
    expect(refusals(plane)).toEqual(['MESH_CONTROL_PLANE_DENIED', 'MESH_CONTROL_PLANE_DENIED']);
    await expect(client.issueWorkloadToken(web)).rejects.toThrow('on the deny list');
    await expect(client.renew({ csr: new Uint8Array() })).rejects.toThrow('on the deny list');
    // As a connection without a certificate, it does not stay.
    expect(await codeOf(() => told.next())).toBe('CA_UNAVAILABLE');

    const waiting = client.watchBundle();
    await waiting.next();
    await plane.ca.denyList.allow({ kind: 'serial-number', value });
    // Either it is still told, or cut off first: what it may call is decided anew.
    await waiting.next().catch(() => undefined);
    await client.issueWorkloadToken(web);
    expect(plane.server.peers).toHaveLength(1);
  });

  it('an agent whose certificate alone is denied attests anew by itself, and is back', async () => {
    const plane = await controlPlane();
    const follow = plane.ca.bundle.subscribe((bundle) => plane.bundle.set(bundle));
    onTestFinished(() => follow[Symbol.dispose]());
    const { trustDomain } = plane.ca;
    let control: CaClient | undefined;
    const renewer = await SvidRenewer.start({
      spiffeId: SpiffeId.parse(agentA),
      attest: async (csr, call) => {
        const { token, rootPin } = await plane.joinTokens.create({ node: 'node-a' });
        const transport = joinTransport({ address: plane.address, rootPin, trustDomain });
        try {
          return await new CaClient({ transport, trustDomain }).join({ token, csr }, call);
        } finally {
          await transport.close();
        }
      },
      renew: ({ svid, bundle }) => {
        const own = (control = plane.client(plane.transport(svid, { bundle })));
        return (csr, call) => own.renew({ csr }, call);
      },
    });
    const stopped = new AbortController();
    const following = followBundle({
      watch: (call) => (control ?? plane.client(plane.transport(renewer.svid))).watchBundle(call),
      onBundle: (bundle) => renewer.acceptBundle(bundle),
      signal: stopped.signal,
      svid: renewer.svid,
    });
    const serials = (): readonly string[] => plane.server.peers.map(({ serialNumber }) => serialNumber);
    const { serialNumber: first } = renewer.svid.current;
    await until(() => serials().includes(first));
    await plane.ca.denyList.deny({ kind: 'serial-number', value: first });
    await until(() => renewer.svid.current.serialNumber !== first && serials().length === 1);
    expect(serials()).toEqual([renewer.svid.current.serialNumber]);
    expect(renewer.status.denied).toBeUndefined();
    await control?.issueWorkloadToken(web);
    stopped.abort();
    await Promise.all([following, renewer.close()]);
  });

  it('bounds the connections of one peer and the unauthenticated ones', async () => {
    const plane = await controlPlane({ limits: { maxPerPeer: 2, maxUnauthenticated: 2 } });
    const svid = await plane.svid(agentA);
    const clients: CaClient[] = [1, 2, 3].map(() => plane.client(plane.transport(svid)));
    const outcomes = await Promise.allSettled(clients.map((client) => client.issueWorkloadToken(web)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(refusals(plane)).toContain('MESH_CONTROL_PLANE_LIMIT');
    const [host = '', port = ''] = plane.address.split(':');
    const silent = [1, 2, 3].map(() => net.connect(Number(port), host).on('error', () => undefined));
    const closed = await Promise.race(
      silent.map(
        (socket, index) => new Promise<number>((resolve) => socket.once('close', () => resolve(index)).resume()),
      ),
    );
    expect(closed).toBe(2);
    for (const socket of silent) socket.destroy();
  });

  it('closes in time, watches or not, and cannot be bound twice', async () => {
    const plane = await controlPlane({ limits: { drainTimeoutMs: 200 } });
    const { port } = plane.server.address;
    const again = { port, svid: await plane.svid(agentA), bundle: plane.ca.bundle, routes: [] };
    expect(await codeOf(() => ControlPlaneServer.listen(again))).toBe('MESH_CONTROL_PLANE_LISTEN');
    const watch = plane.client(plane.transport(await plane.svid(agentA))).watchBundle();
    await watch.next();
    const closing = plane.server.close();
    expect(plane.server.close()).toBe(closing);
    await closing;
    expect(await codeOf(() => watch.next())).toBe('CA_UNAVAILABLE');
  });
});

describe('bad input', () => {
  const garbage = Buffer.alloc(64 * 1024, 0xa5);
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  // HEADERS on stream 1 without END_HEADERS, and nothing after it.
  const half = Buffer.concat([preface, settings, Buffer.from([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82])]);
  const limits = { handshakeTimeoutMs: 1_000, unauthenticatedLifeMs: 1_500 };

  const overTls: readonly (readonly [string, string[] | undefined, Buffer | undefined])[] = [
    ['no ALPN', undefined, Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['the ALPN protocol http/1.1', ['http/1.1'], Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['HTTP/1 under h2', ['h2'], Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['64 KiB of garbage under h2', ['h2'], garbage],
    ['half a request and silence', ['h2'], half],
    ['silence after the handshake', ['h2'], undefined],
  ];

  it.each(overTls)('over TLS: %s', async (_, ALPNProtocols, bytes) => {
    const plane = await controlPlane({ limits });
    const { received } = await rawTls(plane.address, ALPNProtocols === undefined ? {} : { ALPNProtocols }, bytes);
    expect(received.toString('latin1')).not.toContain('HTTP/1');
    await works(plane);
  });

  const overTcp: readonly (readonly [string, Buffer | undefined])[] = [
    ['plain HTTP/1', Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n')],
    ['plain HTTP/2', Buffer.concat([preface, settings])],
    ['64 KiB of garbage', garbage],
    ['half a TLS record', Buffer.from([0x16, 3, 1, 2, 0, 1, 0])],
    ['silence', undefined],
  ];

  it.each(overTcp)('over TCP: %s', async (_, bytes) => {
    const plane = await controlPlane({ limits });
    const [host = '', port = ''] = plane.address.split(':');
    await new Promise((resolve) => {
      const socket = net.connect(Number(port), host, () => {
        if (bytes !== undefined) socket.write(bytes);
      });
      socket
        .resume()
        .on('error', () => undefined)
        .once('close', resolve);
    });
    await until(() => refusals(plane).length > 0);
    await works(plane);
  });

  it('in a request: a message that is too large', async () => {
    const plane = await controlPlane({ limits: { maxMessageBytes: 1024 } });
    const client = plane.client(plane.transport(await plane.svid(agentA)));
    expect(await codeOf(() => client.renew({ csr: new Uint8Array(5000) }))).toBe('CA_UNAVAILABLE');
    await works(plane);
  });

  it('in a bundle: an empty one lets nobody in', async () => {
    const plane = await controlPlane();
    plane.bundle.set(TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: [] }));
    const client = plane.client(plane.transport(await plane.svid(agentA)));
    expect(await codeOf(() => client.issueWorkloadToken(web))).toBe('CA_UNAVAILABLE');
  });
});
