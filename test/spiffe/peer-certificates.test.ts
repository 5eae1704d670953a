import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import * as tls from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { peerCertificates, verifyX509Svid } from '../../src/spiffe/index.js';
import { TestCa, testCertificateDefects } from './fakes.js';
import type { TestIdentity } from './fakes.js';
import { codeOf } from './code-of.js';

const ids = { client: 'spiffe://cluster.local/agent/node-a', server: 'spiffe://cluster.local/agent/node-b' };
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

type Pem = Pick<TestIdentity, 'chainPem' | 'privateKeyPem'>;

/** A TLS 1.3 handshake that itself accepts anyone; gives both ends. */
async function handshake(client: Pem | undefined, server: Pem, ca: string[]) {
  const listener = tls.createServer({
    cert: server.chainPem,
    key: server.privateKeyPem,
    ca,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const accepted = once(listener, 'secureConnection') as Promise<[tls.TLSSocket]>;
  const socket = tls.connect({
    port: (listener.address() as AddressInfo).port,
    host: '127.0.0.1',
    ...(client === undefined ? {} : { cert: client.chainPem, key: client.privateKeyPem }),
    ca,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
  });
  await once(socket, 'secureConnect');
  const [serverSocket] = await accepted;
  cleanups.push(() => {
    socket.destroy();
    serverSocket.destroy();
    listener.close();
  });
  return { clientSide: socket, serverSide: serverSocket };
}

describe('peerCertificates', () => {
  /** Node 24 shows a server the client's leaf alone: a chain with intermediates then verifies nowhere. */
  const showsClientChain = Number(process.versions.node.split('.')[0]) < 24;

  for (const intermediate of showsClientChain ? [false, true] : [false]) {
    test(`both ends see the other's chain, each time they ask (intermediate: ${String(intermediate)})`, async () => {
      const ca = TestCa.create({ intermediate });
      const [client, server] = [ca.svid(ids.client), ca.svid(ids.server)];
      const { clientSide, serverSide } = await handshake(client, server, [ca.rootPem]);
      for (let time = 0; time < 3; time += 1) {
        for (const [socket, peer] of [
          [clientSide, server],
          [serverSide, client],
        ] as const) {
          const certificates = peerCertificates(socket);
          expect(certificates.slice(0, peer.certificates.length)).toEqual(peer.certificates);
          const verified = verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() });
          expect(verified.spiffeId.toString()).toBe(peer.spiffeId.toString());
        }
      }
    });
  }

  test('is empty for a client without a certificate', async () => {
    const ca = TestCa.create();
    const { serverSide } = await handshake(undefined, ca.svid(ids.server), [ca.rootPem]);
    expect(peerCertificates(serverSide)).toEqual([]);
    expect(codeOf(() => verifyX509Svid({ certificates: [], bundle: ca.bundle, now: Date.now() }))).toBe(
      'SPIFFE_X509_MISSING',
    );
  });

  test('a self-signed peer does not loop', async () => {
    const ca = TestCa.create();
    const root = { chainPem: ca.rootPem, privateKeyPem: ca.rootKey.export({ type: 'pkcs8', format: 'pem' }) as string };
    const { clientSide } = await handshake(undefined, root, []);
    expect(peerCertificates(clientSide)).toHaveLength(1);
  });

  // What OpenSSL itself refuses to load or to send cannot arrive this way.
  const unsendable = ['trailingByte', 'extensionTwice', 'shortRsaKey', 'sha1Signature'];
  const defects = Object.entries(testCertificateDefects).filter(([name]) => !unsendable.includes(name));
  // Node gives no issuer that OpenSSL does not take for one: the chain ends before the leaf that signed.
  const cut: Readonly<Record<string, string>> = { signedByLeaf: 'SPIFFE_X509_UNTRUSTED' };
  test.each(defects)('%s passes the handshake when told to, and is refused by verification', async (name, defect) => {
    const ca = TestCa.create();
    const { serverSide } = await handshake(defect.issue(ca, ids.client), ca.svid(ids.server), [ca.rootPem]);
    const certificates = peerCertificates(serverSide);
    expect(codeOf(() => verifyX509Svid({ certificates, bundle: ca.bundle, now: Date.now() }))).toBe(
      cut[name] ?? defect.code,
    );
  });
});
