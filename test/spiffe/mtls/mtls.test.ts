import { once } from 'node:events';
import type * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { Agent, request as undiciRequest } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  BundleSet,
  MtlsAgent,
  TrustBundle,
  authorizeId,
  connectMtls,
  connectMtlsHttp2,
  createMtlsHttp2Server,
  createMtlsHttpsServer,
  createMtlsServer,
  mtlsConnector,
  mtlsPeer,
  tlsIdentityOptions,
} from '../../../src/spiffe/index.js';
import type { MtlsOptions } from '../../../src/spiffe/index.js';
import { TestCa, testCertificateDefects } from '../fakes.js';
import { codeOf, codeOfAsync } from '../code-of.js';
import { clientId, end, listening, serverId, until } from './support.js';

const ca = TestCa.create();

/** A server that says who asked, by whatever means, and how to ask it. */
interface Kind {
  readonly listen: (options: MtlsOptions) => Promise<number>;
  readonly client: (options: MtlsOptions, port: number) => { ask: () => Promise<string>; close: () => void };
}

const answerHttp = (request: { socket: object }, response: { end: (text: string) => unknown }): void =>
  void response.end(`${mtlsPeer(request.socket)?.spiffeId.toString() ?? 'nobody'}`);

function askHttps(agent: https.Agent, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.request({ agent, host: '127.0.0.1', port, path: '/' }, (response) => {
      let text = '';
      const by = mtlsPeer(response.socket)?.spiffeId.toString() ?? 'nobody';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(`${text} by ${by}`));
    });
    request.on('error', reject).end();
  });
}

async function askHttp2(session: http2.ClientHttp2Session): Promise<string> {
  const stream = session.request({ ':path': '/' });
  stream.end();
  let text = '';
  for await (const part of stream.setEncoding('utf8')) text += String(part);
  return `${text} by ${mtlsPeer(session.socket)?.spiffeId.toString() ?? 'nobody'}`;
}

const kinds: Readonly<Record<string, Kind>> = {
  tls: {
    listen: (options) =>
      listening(
        createMtlsServer(options, (socket) => {
          socket.on('error', () => undefined).end(mtlsPeer(socket)?.spiffeId.toString() ?? 'nobody');
        }),
      ),
    client: (options, port) => ({
      ask: async () => {
        const socket = await connectMtls(options, { host: '127.0.0.1', port });
        let text = '';
        for await (const part of socket.setEncoding('utf8')) text += String(part);
        return `${text} by ${mtlsPeer(socket)?.spiffeId.toString() ?? 'nobody'}`;
      },
      close: () => undefined,
    }),
  },
  https: {
    listen: (options) => listening(createMtlsHttpsServer(options, answerHttp)),
    client: (options, port) => {
      const agent = new MtlsAgent(options);
      return { ask: () => askHttps(agent, port), close: () => agent.destroy() };
    },
  },
  http2: {
    listen: (options) => listening(createMtlsHttp2Server(options, answerHttp)),
    client: (options, port) => ({
      ask: async () => {
        const session = await connectMtlsHttp2(options, `https://127.0.0.1:${String(port)}`);
        session.on('error', () => undefined);
        try {
          return await askHttp2(session);
        } finally {
          session.close();
        }
      },
      close: () => undefined,
    }),
  },
  undici: {
    listen: (options) => listening(createMtlsHttpsServer(options, answerHttp)),
    client: (options, port) => {
      const agent = new Agent({ connect: mtlsConnector(options) });
      return {
        ask: async () => {
          const { body } = await undiciRequest(`https://127.0.0.1:${String(port)}/`, { dispatcher: agent });
          return `${await body.text()} by ${serverId}`;
        },
        close: () => void agent.destroy(),
      };
    },
  },
};

describe.each(Object.entries(kinds))('%s', (_name, kind) => {
  const clientOf = (options: MtlsOptions, port: number) => {
    const made = kind.client(options, port);
    onTestFinished(made.close);
    return made;
  };

  test('both ends know each other, through renewals of both and a new root', async () => {
    const [server, client] = [end(ca, serverId), end(ca, clientId)];
    const { ask } = clientOf(client.options, await kind.listen(server.options));
    expect(await ask()).toBe(`${clientId} by ${serverId}`);
    server.renew();
    expect(await ask()).toBe(`${clientId} by ${serverId}`);
    client.renew();
    expect(await ask()).toBe(`${clientId} by ${serverId}`);
    // A new root: published at both ends, then used by each in turn.
    const next = TestCa.create();
    const published = ca.bundle.x509AuthoritiesPem.concat(next.bundle.x509AuthoritiesPem);
    const both = TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: published });
    for (const { bundle } of [server, client]) bundle.set(both);
    server.svid.set(next.svid(serverId));
    expect(await ask()).toBe(`${clientId} by ${serverId}`);
    client.svid.set(next.svid(clientId));
    expect(await ask()).toBe(`${clientId} by ${serverId}`);
  });

  test('the server refuses a client of another CA, one who is not welcome, and one without a certificate', async () => {
    const server = end(ca, serverId, { authorizePeer: authorizeId(clientId) });
    const port = await kind.listen(server.options);
    const stranger = TestCa.create().svid(clientId);
    const unwelcome = ca.svid('spiffe://cluster.local/ns/shop/sa/other');
    for (const svid of [stranger, unwelcome]) {
      const { ask } = clientOf({ ...end(ca, clientId).options, svid }, port);
      // The server's answer begins with who asked.
      expect(await ask().catch(() => 'refused')).not.toContain(svid.spiffeId.toString());
    }
    const bare = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ALPNProtocols: ['h2', 'http/1.1'] });
    let received = 0;
    bare.on('error', () => undefined).on('data', (part: Buffer) => (received += part.length));
    bare.on('secureConnect', () => bare.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
    await once(bare, 'close');
    expect(received).toBe(0);
    await until(() => server.events.length >= 3);
    const codes = server.events.map((event) => ('code' in event ? event.code : event.type));
    expect(new Set(codes)).toEqual(
      new Set(['SPIFFE_X509_SIGNATURE', 'SPIFFE_MTLS_NOT_AUTHORIZED', 'SPIFFE_X509_MISSING']),
    );
  });

  test('the client refuses a server of another CA, or one who is not who it should be, and sends it nothing', async () => {
    const client = end(ca, clientId, { authorizePeer: authorizeId(serverId) });
    for (const [svid, code] of [
      [TestCa.create().svid(serverId), 'SPIFFE_X509_SIGNATURE'],
      [ca.svid('spiffe://cluster.local/ns/shop/sa/impostor'), 'SPIFFE_MTLS_NOT_AUTHORIZED'],
    ] as const) {
      let received = 0;
      const impostor = tls.createServer(
        { ...tlsIdentityOptions(svid, ca.bundle), ALPNProtocols: ['h2', 'http/1.1'] },
        (socket) => socket.on('data', (part) => (received += part.length)),
      );
      const port = await listening(impostor);
      const { ask } = clientOf(client.options, port);
      const error: unknown = await ask().catch((failure: unknown) => failure);
      expect([error, (error as { cause?: unknown }).cause]).toContainEqual(expect.objectContaining({ code }));
      await new Promise((resolve) => void setTimeout(resolve, 20));
      expect(received).toBe(0);
    }
  });

  test('peers of several trust domains, each by its own bundle', async () => {
    const partner = TestCa.create({ trustDomain: 'partner.local' });
    const trusted = BundleSet.of(ca.bundle, partner.bundle);
    const partnerId = 'spiffe://partner.local/ns/shop/sa/web';
    const server = end(ca, serverId, { bundle: trusted, authorizePeer: () => true });
    const port = await kind.listen(server.options);
    const ask = (svid: ReturnType<TestCa['svid']>) => clientOf({ ...end(ca, clientId).options, svid }, port).ask();
    expect(await ask(partner.svid(partnerId))).toBe(`${partnerId} by ${serverId}`);
    expect(await ask(ca.svid(clientId))).toBe(`${clientId} by ${serverId}`);
    await ask(ca.svid(partnerId)).catch(() => undefined);
    await until(() => server.events.some((event) => event.type === 'mtls-peer-refused'));
    expect(server.events.at(-1)).toMatchObject({ code: 'SPIFFE_X509_UNTRUSTED' });
  });
});

describe('renewal while connections are in use', () => {
  test('a stream goes on through renewals of both ends and a root that is added', async () => {
    const [server, client] = [end(ca, serverId), end(ca, clientId)];
    const port = await listening(createMtlsServer(server.options, (socket) => socket.pipe(socket)));
    const socket = await connectMtls(client.options, { host: '127.0.0.1', port });
    onTestFinished(() => void socket.destroy());
    let received = '';
    socket.setEncoding('utf8').on('data', (part: string) => (received += part));
    for (let round = 0; round < 5; round += 1) {
      socket.write(`${String(round)} `);
      server.renew();
      client.renew();
      server.bundle.set(BundleSet.of(ca.bundle));
      client.bundle.set(ca.bundle);
      await until(() => received.endsWith(`${String(round)} `));
    }
    expect(received).toBe('0 1 2 3 4 ');
    expect(server.events.map((event) => event.type)).toEqual(['mtls-peer-accepted']);
  });

  test('requests under way end well, later ones present the new SVID, none fails', async () => {
    const [server, client] = [end(ca, serverId), end(ca, clientId)];
    const serials: (string | undefined)[] = [];
    const port = await listening(
      createMtlsHttpsServer(server.options, (request, response) => {
        serials.push(mtlsPeer(request.socket)?.serialNumber);
        setTimeout(() => response.end('ok'), 3);
      }),
    );
    const agent = new MtlsAgent(client.options, { maxSockets: 4 });
    onTestFinished(() => agent.destroy());
    let failed = 0;
    let answered = 0;
    let done = false;
    const worker = async (): Promise<void> => {
      while (!done) {
        await askHttps(agent, port).then(
          () => (answered += 1),
          () => (failed += 1),
        );
      }
    };
    const workers = Array.from({ length: 8 }, worker);
    const used = new Set<string>();
    for (let round = 0; round < 6; round += 1) {
      used.add(client.svid.current.serialNumber);
      const before = answered;
      await until(() => answered > before + 10);
      client.renew();
      server.renew();
    }
    done = true;
    await Promise.all(workers);
    expect(failed).toBe(0);
    expect(new Set(serials).size).toBeGreaterThanOrEqual(6);
    await askHttps(agent, port);
    expect(serials.at(-1)).toBe(client.svid.current.serialNumber);
  });

  test('idle connections of the old SVID are closed', async () => {
    const [server, client] = [end(ca, serverId), end(ca, clientId)];
    const port = await listening(createMtlsHttpsServer(server.options, answerHttp));
    const agent = new MtlsAgent(client.options);
    onTestFinished(() => agent.destroy());
    await askHttps(agent, port);
    await until(() => Object.keys(agent.freeSockets).length === 1);
    client.renew();
    await until(() => Object.keys(agent.freeSockets).length === 0);
  });

  test('a root that is withdrawn ends the connections that rest on it, and no others', async () => {
    const other = TestCa.create();
    const make = (...from: TestCa[]) =>
      TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: from.map(({ rootPem }) => rootPem) });
    const server = end(ca, serverId);
    server.bundle.set(make(ca, other));
    const port = await listening(createMtlsServer(server.options, (socket) => socket.pipe(socket)));
    const open = async (from: TestCa) => {
      const socket = await connectMtls(end(ca, clientId, { svid: from.svid(clientId) }).options, {
        host: '127.0.0.1',
        port,
      });
      onTestFinished(() => void socket.destroy());
      socket.write('x');
      await once(socket, 'data');
      return socket;
    };
    const [stays, goes] = [await open(ca), await open(other)];
    server.bundle.set(make(ca));
    await once(goes, 'close');
    stays.write('y');
    await once(stays, 'data');
    expect(server.events.at(-1)).toMatchObject({ type: 'mtls-connection-ended', peer: clientId });
  });

  test('a connection ends when the certificate of its peer does, at either end', async () => {
    const server = end(ca, serverId);
    const port = await listening(createMtlsServer(server.options, (socket) => socket.on('error', () => undefined)));
    const client = end(ca, clientId, { svid: ca.svid(clientId, { ttlMs: 2_000 }) });
    const socket = await connectMtls(client.options, { host: '127.0.0.1', port });
    await once(socket, 'close');
    expect(server.events.at(-1)).toMatchObject({ type: 'mtls-connection-ended', code: 'SPIFFE_X509_EXPIRED' });
    // And from then on the client does not even try.
    expect(await codeOfAsync(() => connectMtls(client.options, { host: '127.0.0.1', port }))).toBe(
      'SPIFFE_MTLS_SVID_EXPIRED',
    );
    server.renew(2_000);
    const fresh = end(ca, clientId);
    const second = await connectMtls(fresh.options, { host: '127.0.0.1', port });
    await once(second, 'close');
    expect(fresh.events.at(-1)).toMatchObject({ type: 'mtls-connection-ended', code: 'SPIFFE_X509_EXPIRED' });
    // Nobody accepts the server until it has renewed; it refuses to be presented at all.
    await expect(
      connectMtls(fresh.options, { host: '127.0.0.1', port }).then((late) => once(late, 'data')),
    ).rejects.toThrow();
  });

  test('sources are subscribed to only while connections are open', async () => {
    let subscribed = 0;
    const [server, client] = [end(ca, serverId), end(ca, clientId)];
    const counted = {
      get current() {
        return client.svid.current;
      },
      subscribe: (listener: never) => {
        const inner = client.svid.subscribe(listener);
        subscribed += 1;
        return {
          [Symbol.dispose]: () => {
            subscribed -= 1;
            inner[Symbol.dispose]();
          },
        };
      },
      changes: () => client.svid.changes(),
    };
    const port = await listening(createMtlsServer(server.options, (socket) => socket.resume()));
    const socket = await connectMtls({ ...client.options, svid: counted }, { host: '127.0.0.1', port });
    expect(subscribed).toBe(1);
    socket.destroy();
    await until(() => subscribed === 0);
  });
});

describe('a handshake', () => {
  // What OpenSSL itself refuses to load or to send cannot arrive this way.
  const unsendable = ['trailingByte', 'extensionTwice', 'shortRsaKey', 'sha1Signature'];
  const defects = Object.entries(testCertificateDefects).filter(([name]) => !unsendable.includes(name));
  const server = end(ca, serverId);
  let port: Promise<number> | undefined;

  test.each(defects)('with a client certificate that is wrong (%s) yields no connection', async (name, defect) => {
    // One server for each: tests end one by one.
    port = listening(createMtlsServer(server.options, () => expect.unreachable()));
    const identity = defect.issue(ca, clientId);
    const before = server.events.length;
    const socket = tls.connect({
      host: '127.0.0.1',
      port: await port,
      cert: identity.chainPem,
      key: identity.privateKeyPem,
      rejectUnauthorized: false,
    });
    socket.on('error', () => undefined).resume();
    await once(socket, 'close');
    await until(() => server.events.length > before, name);
    expect(server.events.at(-1)).toMatchObject({
      type: 'mtls-peer-refused',
      code: name === 'signedByLeaf' ? 'SPIFFE_X509_UNTRUSTED' : defect.code,
    });
  });

  test('is never resumed, and never older than TLS 1.3', async () => {
    const port = await listening(createMtlsServer(end(ca, serverId).options, (socket) => socket.resume()));
    const svid = ca.svid(clientId);
    const identity = { cert: svid.chainPem, key: svid.privateKeyPem, rejectUnauthorized: false };
    const sessions: Buffer[] = [];
    const first = tls.connect({ host: '127.0.0.1', port, ...identity });
    first.on('session', (session: Buffer) => sessions.push(session));
    await once(first, 'secureConnect');
    await new Promise((resolve) => void setTimeout(resolve, 50));
    const known = first.getSession();
    first.destroy();
    for (const session of [...sessions, ...(known === undefined ? [] : [known])]) {
      const again = tls.connect({ host: '127.0.0.1', port, ...identity, session });
      await once(again, 'secureConnect');
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    }
    const old = tls.connect({ host: '127.0.0.1', port, ...identity, maxVersion: 'TLSv1.2' });
    await expect(once(old, 'secureConnect')).rejects.toThrow();
    old.destroy();
  });

  test('that takes too long, fails or is given up rejects with its own reason', async () => {
    const silent = net.createServer((socket) => socket.on('error', () => undefined));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as net.AddressInfo;
    const options = { ...end(ca, clientId).options, handshakeTimeoutMs: 100 };
    expect(await codeOfAsync(() => connectMtls(options, { host: '127.0.0.1', port }))).toBe('SPIFFE_MTLS_TIMEOUT');
    const reason = new Error('given up');
    const signal = AbortSignal.abort(reason);
    await expect(connectMtls(options, { host: '127.0.0.1', port, signal })).rejects.toBe(reason);
    const later = new AbortController();
    const attempt = connectMtls(
      { ...options, handshakeTimeoutMs: 5_000 },
      { host: '127.0.0.1', port, signal: later.signal },
    );
    setTimeout(() => later.abort(reason), 20);
    await expect(attempt).rejects.toBe(reason);
    const patient = end(ca, clientId).options;
    expect(await codeOfAsync(() => connectMtls(patient, { host: '127.0.0.1', port: 1 }))).toBe('SPIFFE_MTLS_FAILED');
    const plain = net.createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400 no\r\n\r\n'));
    plain.listen(0, '127.0.0.1');
    await once(plain, 'listening');
    onTestFinished(() => void plain.close());
    const at = { host: '127.0.0.1', port: (plain.address() as net.AddressInfo).port };
    expect(await codeOfAsync(() => connectMtls(patient, at))).toBe('SPIFFE_MTLS_FAILED');
  });

  test('for HTTP/2 wants ALPN h2', async () => {
    const port = await listening(createMtlsServer(end(ca, serverId).options, (socket) => socket.resume()));
    expect(
      await codeOfAsync(() => connectMtlsHttp2(end(ca, clientId).options, `https://127.0.0.1:${String(port)}`)),
    ).toBe('SPIFFE_MTLS_ALPN');
  });
});

describe('what a caller in plain JavaScript might pass', () => {
  test('does not turn authentication off', async () => {
    const server = end(ca, serverId);
    const weak = {
      requestCert: false,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      secureOptions: 0,
      SNICallback: undefined,
    } as object;
    const port = await listening(createMtlsHttpsServer(server.options, answerHttp, weak));
    const bare = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
    bare.on('error', () => undefined).resume();
    await once(bare, 'close');
    await until(() => server.events.length > 0);
    expect(server.events.at(-1)).toMatchObject({ code: 'SPIFFE_X509_MISSING' });
  });

  test('is refused when no authorizer is there, and an authorizer that fails refuses', async () => {
    const { authorizePeer: _, ...without } = end(ca, serverId).options;
    expect(() => createMtlsServer(without as MtlsOptions, () => undefined)).toThrow(TypeError);
    expect(() => createMtlsServer({ ...end(ca, serverId).options, handshakeTimeoutMs: 0 }, () => undefined)).toThrow(
      RangeError,
    );
    for (const authorizePeer of [
      () => 1,
      () => 'no',
      () => Promise.resolve(true),
      () => {
        throw new Error('down');
      },
    ]) {
      const server = end(ca, serverId, { authorizePeer: authorizePeer as never });
      const port = await listening(createMtlsServer(server.options, () => expect.unreachable()));
      const socket = await connectMtls(end(ca, clientId).options, { host: '127.0.0.1', port });
      await once(socket, 'close');
      await until(() => server.events.length > 0);
      expect(server.events.at(-1)).toMatchObject({ code: 'SPIFFE_MTLS_NOT_AUTHORIZED' });
    }
  });

  test('other sockets have no peer', () => {
    expect(mtlsPeer(new net.Socket())).toBeUndefined();
    expect(codeOf(() => mtlsPeer({}))).toBeUndefined();
  });
});
