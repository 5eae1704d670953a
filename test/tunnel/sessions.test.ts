import { once } from 'node:events';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { LatestValueCell } from '../../src/core/index.js';
import { TrustBundle, authorizeAgent, authorizeId } from '../../src/spiffe/index.js';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { TestCa } from '../../src/testing/test-ca.js';
import { testCertificateDefects } from '../../src/testing/test-certificate-defects.js';
import { clientPreface, connect, frame, rawTls } from './raw.js';
import { Rig, agentA, agentB, echo, errorOf, readAll, until } from './support.js';

let rig: Rig;
afterEach(() => rig.stop());

const ids = (): string[] => rig.client.sessions.map(({ id }) => id);

describe('the pool', () => {
  test('opens one session for many connects at once', async () => {
    let dials = 0;
    rig = await Rig.start(
      {},
      {
        dial: ({ destination }) => {
          dials += 1;
          return dialled(destination.port);
        },
      },
    );
    const streams = await Promise.all(Array.from({ length: 50 }, async () => (await rig.connect()).stream));
    expect(dials).toBe(1);
    expect(rig.client.sessions).toMatchObject([{ streams: 50, peer: agentB, state: 'open', side: 'client' }]);
    expect(rig.server.sessions).toMatchObject([{ streams: 50, peer: agentA, state: 'open', side: 'server' }]);
    for (const stream of streams) stream.destroy();
  });

  test('opens another when one is full, and fills the first again', async () => {
    rig = await Rig.start({ limits: { maxStreamsPerSession: 2 } });
    const streams = await Promise.all([1, 2, 3].map(async () => (await rig.connect()).stream));
    expect(rig.client.sessions.map(({ streams: count }) => count)).toEqual([2, 1]);
    streams[0]?.destroy();
    await until(() => rig.client.sessions[0]?.streams === 1);
    await rig.connect();
    expect(rig.client.sessions.map(({ streams: count }) => count)).toEqual([2, 1]);
  });

  test('keeps sessions apart by expectation and shares them by authorizer', async () => {
    rig = await Rig.start();
    const authorizer = authorizeAgent();
    await rig.connect();
    await rig.connect('10.0.0.7:80', { peer: authorizer });
    await rig.connect('10.0.0.7:80', { peer: authorizer });
    await rig.connect('10.0.0.7:80', { peer: agentB });
    expect(rig.client.sessions.map(({ streams }) => streams)).toEqual([2, 2]);
  });

  test('skips a session that died and releases an idle one', async () => {
    const clock = new FakeClock({ start: Date.now() });
    rig = await Rig.start({}, { clock });
    const { stream } = await rig.connect();
    const [first] = ids();
    stream.end();
    await readAll(stream);
    await until(() => rig.client.sessions[0]?.streams === 0);
    for (let second = 0; second < 299; second += 1) await clock.advanceAsync(1_000);
    expect(ids()).toEqual([first]);
    await clock.advanceAsync(1_000);
    await until(() => rig.client.sessions.length === 0);
    expect(rig.events).toContainEqual(
      expect.objectContaining({ type: 'session-closed', side: 'client', reason: 'TUNNEL_IDLE' }),
    );
    await rig.connect();
    expect(ids()).not.toEqual([first]);
    rig.client.destroy();
    await until(() => clock.pendingTimers === 0);
  });

  test('a caller that gives up does not take the connect away from others', async () => {
    rig = await Rig.start();
    const abort = new AbortController();
    const first = rig.connect('10.0.0.7:80', { signal: abort.signal });
    const second = rig.connect();
    abort.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    (await second).stream.destroy();
  });

  test('tries again when the session ended under a request', async () => {
    let requests = 0;
    rig = await Rig.start({
      onConnect: (request) => {
        requests += 1;
        if (requests === 1) request.session.destroy(new Error('gone'));
        else return echo(request);
        return undefined;
      },
    });
    (await rig.connect()).stream.destroy();
    expect(requests).toBe(2);
  });
});

describe('the client', () => {
  test.each(Object.keys(testCertificateDefects))('sends no byte of HTTP/2 to a server with defect %s', async (name) => {
    const defect = testCertificateDefects[name as keyof typeof testCertificateDefects];
    await expectUnspoken((ca) => defect.issue(ca, agentB), /^TUNNEL_(PEER_UNTRUSTED|TLS_FAILED)$/);
  });

  test('sends no byte of HTTP/2 to another member of the mesh', async () => {
    await expectUnspoken((ca) => ca.svid('spiffe://cluster.local/agent/node-c'), /^TUNNEL_PEER_NOT_AUTHORIZED$/);
  });

  test('sends no byte of HTTP/2 to a server without ALPN', async () => {
    await expectUnspoken((ca) => ca.svid(agentB), /^TUNNEL_ALPN_MISMATCH$/, { ALPNProtocols: [] });
  });

  test('does not connect with an expired SVID of its own', async () => {
    rig = await Rig.start({}, { clock: new FakeClock({ start: Date.now() + 7_200_000 }) });
    await expect(rig.connect()).rejects.toMatchObject({ code: 'TUNNEL_SVID_EXPIRED' });
    expect(rig.server.sessions).toEqual([]);
  });

  test('gives up on a silent address after connectTimeoutMs', async () => {
    rig = await Rig.start({}, { limits: { connectTimeoutMs: 100 } });
    const silent = net.createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as net.AddressInfo;
    await expect(rig.connect('10.0.0.7:80', { address: `127.0.0.1:${String(port)}` })).rejects.toMatchObject({
      code: 'TUNNEL_CONNECT_TIMEOUT',
    });
    silent.close();
    const patient = rig.dialler();
    const refused = patient.connect({ address: '127.0.0.1:1', authority: '10.0.0.7:80', peer: agentB });
    await expect(refused).rejects.toMatchObject({ code: 'TUNNEL_DIAL_FAILED' });
  });

  test('says why when the server refuses its certificate', async () => {
    rig = await Rig.start({ authorizePeer: () => 'not today' });
    // Depends on how far the client is when the connection is closed.
    await expect(rig.connect()).rejects.toMatchObject({ code: expect.stringMatching(/^TUNNEL_(SESSION|TLS)_FAILED$/) });
    expect(rig.logged('TUNNEL_PEER_NOT_AUTHORIZED')[0]?.fields['reason']).toMatch(/not today/);
  });
});

/** Connects to a TLS server with that identity: refused with a code, and nothing came through. */
async function expectUnspoken(
  identityOf: (ca: TestCa) => { chainPem: string; privateKeyPem: string },
  code: RegExp,
  options: tls.TlsOptions = {},
): Promise<void> {
  rig = await Rig.start();
  const { chainPem, privateKeyPem } = identityOf(rig.ca);
  let bytes = 0;
  let server: tls.Server;
  try {
    server = tls.createServer({
      cert: chainPem,
      key: privateKeyPem,
      ALPNProtocols: ['h2'],
      requestCert: true,
      rejectUnauthorized: false,
      ...options,
    });
  } catch {
    // OpenSSL would not even serve with it.
    return;
  }
  server.on('secureConnection', (socket) => {
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as net.AddressInfo;
  const failure: unknown = await rig
    .connect('10.0.0.7:80', { address: { ip: '127.0.0.1', port } })
    .catch((error: unknown) => error);
  expect((failure as { code?: string }).code).toMatch(code);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(bytes).toBe(0);
  server.close();
}

async function dialled(port: number): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

describe('renewal', () => {
  test('of our SVID: new streams on a new session, the old one ends when it is idle', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const [old] = ids();
    rig.clientSvid.set(rig.ca.svid(agentA));
    const again = await rig.connect();
    expect(rig.client.sessions.map(({ state }) => state)).toEqual(['draining', 'open']);
    stream.end('still whole');
    expect((await readAll(stream)).toString()).toBe('still whole');
    await until(() => rig.client.sessions.length === 1 && rig.server.sessions.length === 1);
    expect(ids()).not.toContain(old);
    expect(rig.events).toContainEqual(
      expect.objectContaining({ type: 'session-closed', side: 'client', reason: 'TUNNEL_ROTATED' }),
    );
    again.stream.destroy();
  });

  test('of the SVID of the server: clients move over, open streams stay whole', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    rig.serverSvid.set(rig.ca.svid(agentB));
    await until(() => rig.client.sessions[0]?.state === 'draining');
    const again = await rig.connect();
    expect(again.peer.serialNumber).toBe(rig.serverSvid.current.serialNumber);
    stream.end('still whole');
    expect((await readAll(stream)).toString()).toBe('still whole');
    await until(() => rig.client.sessions.length === 1 && rig.server.sessions.length === 1);
    again.stream.destroy();
  });

  test('of both, again and again under load, fails no request', async () => {
    rig = await Rig.start();
    const raw = await rig.connect();
    let stop = false;
    let requests = 0;
    const load = Array.from({ length: 8 }, async () => {
      while (!stop) {
        const { stream } = await rig.connect();
        stream.end('request');
        expect((await readAll(stream)).toString()).toBe('request');
        requests += 1;
      }
    });
    for (let round = 0; round < 10; round += 1) {
      const goal = requests + 10;
      await until(() => requests >= goal, 10_000);
      if (round % 2 === 0) rig.serverSvid.set(rig.ca.svid(agentB));
      else rig.clientSvid.set(rig.ca.svid(agentA));
    }
    stop = true;
    await Promise.all(load);
    raw.stream.end('long-lived');
    expect((await readAll(raw.stream)).toString()).toBe('long-lived');
    await until(() => rig.server.sessions.length <= 1);
  });

  test('of the bundle: a peer that no longer verifies is closed on both sides, others stay', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const next = TestCa.create();
    rig.bundle.set(
      TrustBundle.create({
        trustDomain: 'cluster.local',
        x509Authorities: [...rig.bundle.current.x509Authorities, ...next.bundle.x509Authorities],
      }),
    );
    expect(rig.server.sessions).toHaveLength(1);
    rig.bundle.set(next.bundle);
    expect((await errorOf(stream)).code).toBe('TUNNEL_STREAM_RESET');
    await until(() => rig.server.sessions.length === 0 && rig.client.sessions.length === 0);
    expect(rig.events).toContainEqual(
      expect.objectContaining({ type: 'session-closed', side: 'server', reason: 'TUNNEL_PEER_UNTRUSTED' }),
    );
  });

  test.each(['server', 'client'] as const)(
    'of the bundle: a %s whose own certificate is denied ends its sessions and opens none',
    async (side) => {
      const ca = TestCa.create();
      const own = new LatestValueCell(ca.bundle);
      // Only the one that is denied learns of it.
      rig = await Rig.start(
        { bundle: side === 'server' ? own : ca.bundle },
        { bundle: side === 'client' ? own : ca.bundle },
        ca,
      );
      const { stream } = await rig.connect();
      const cut = errorOf(stream);
      const { serialNumber } = (side === 'server' ? rig.serverSvid : rig.clientSvid).current;
      const denied = TrustBundle.create({
        trustDomain: ca.bundle.trustDomain,
        x509Authorities: ca.bundle.x509Authorities,
        denied: { serialNumbers: [serialNumber] },
        sequence: ca.bundle.sequence + 1,
      });
      own.set(denied);
      expect((await cut).code).toBe('TUNNEL_STREAM_RESET');
      await until(() => rig.server.sessions.length === 0 && rig.client.sessions.length === 0);
      expect(rig.events).toContainEqual(
        expect.objectContaining({ type: 'session-closed', side, reason: 'TUNNEL_SVID_DENIED' }),
      );
      const code = side === 'client' ? 'TUNNEL_SVID_DENIED' : 'TUNNEL_SESSION_FAILED';
      await expect(rig.connect()).rejects.toMatchObject({ code });
      // Another certificate is another matter.
      (side === 'server' ? rig.serverSvid : rig.clientSvid).set(ca.svid(side === 'server' ? agentB : agentA));
      await rig.connect();
    },
  );

  test('of the bundle does not end sessions for being past their certificate', async () => {
    const clock = new FakeClock({ start: Date.now() });
    rig = await Rig.start({ clock }, { clock });
    const { stream } = await rig.connect();
    clock.jumpWall(3_600_001);
    rig.bundle.set(rig.ca.bundle);
    stream.end('open streams are for the caller to judge');
    expect((await readAll(stream)).length).toBe(40);
  });

  test('reauthorize() ends the sessions of peers that are accepted no longer', async () => {
    let accepted = true;
    rig = await Rig.start({ authorizePeer: (id) => accepted && authorizeId(agentA)(id) });
    const { stream } = await rig.connect();
    rig.server.reauthorize();
    expect(rig.server.sessions).toHaveLength(1);
    accepted = false;
    rig.server.reauthorize();
    expect((await errorOf(stream)).code).toBe('TUNNEL_STREAM_RESET');
  });
});

describe('TLS sessions', () => {
  test('are never resumed', async () => {
    rig = await Rig.start();
    const first = await rawTls(rig, rig.clientSvid.current);
    let session: Buffer | undefined;
    first.on('session', (ticket: Buffer) => (session = ticket));
    first.write(clientPreface);
    await once(first, 'data');
    await new Promise((resolve) => setTimeout(resolve, 50));
    session ??= first.getSession();
    first.destroy();
    const second = await rawTls(rig, rig.clientSvid.current, { session });
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });
});

describe('keepalive', () => {
  test('ends a session whose peer has stopped answering', async () => {
    rig = await Rig.start({ limits: { keepaliveIntervalMs: 30, keepaliveTimeoutMs: 60 } });
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write(clientPreface);
    socket.resume();
    await until(() => rig.logged('TUNNEL_KEEPALIVE_TIMEOUT').length === 1);
    await until(() => rig.server.sessions.length === 0);
  });

  test('leaves a session alone that answers', async () => {
    rig = await Rig.start({ limits: { keepaliveIntervalMs: 10, keepaliveTimeoutMs: 1_000 } });
    const { stream } = await rig.connect();
    await new Promise((resolve) => setTimeout(resolve, 200));
    stream.end('there');
    expect((await readAll(stream)).toString()).toBe('there');
  });

  test.each(['server', 'client'] as const)(
    'leaves a session alone that answers while it drains, however long its streams run (renewal of the %s)',
    async (side) => {
      const limits = { keepaliveIntervalMs: 50, keepaliveTimeoutMs: 1_000 };
      rig = await Rig.start({ limits }, { limits });
      const { stream } = await rig.connect();
      if (side === 'server') rig.serverSvid.set(rig.ca.svid(agentB));
      else rig.clientSvid.set(rig.ca.svid(agentA));
      await rig.connect();
      await until(() => rig.client.sessions.map(({ state }) => state).join() === 'draining,open');
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      stream.end('still there');
      expect((await readAll(stream)).toString()).toBe('still there');
      expect(rig.logged('TUNNEL_KEEPALIVE_TIMEOUT')).toEqual([]);
    },
  );

  test.each([
    ['that has said GOAWAY', false],
    ['that was told GOAWAY', true],
  ])('ends a session with open streams whose peer %s and has stopped answering', async (_, renews) => {
    rig = await Rig.start({ limits: { keepaliveIntervalMs: 100, keepaliveTimeoutMs: 100 } });
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write(clientPreface);
    socket.write(connect(1));
    socket.resume();
    await until(() => rig.server.sessions[0]?.streams === 1);
    if (renews) rig.serverSvid.set(rig.ca.svid(agentB));
    else socket.write(frame(7, 0, 0, Buffer.alloc(8)));
    await until(() => rig.server.sessions.length === 0);
    expect(rig.logged('TUNNEL_KEEPALIVE_TIMEOUT')).toHaveLength(1);
  });
});

describe('close', () => {
  test('of the server lets open streams finish and takes no new ones', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const closing = rig.server.close();
    expect(rig.server.close()).toBe(closing);
    await until(() => rig.client.sessions[0]?.state === 'draining');
    await expect(rig.connect()).rejects.toMatchObject({ code: 'TUNNEL_DIAL_FAILED' });
    stream.end('finished');
    expect((await readAll(stream)).toString()).toBe('finished');
    await closing;
    expect(rig.server.sessions).toEqual([]);
  });

  test('of the server resets what is open after drainTimeoutMs', async () => {
    rig = await Rig.start({ limits: { drainTimeoutMs: 50 } });
    const { stream } = await rig.connect();
    const failed = errorOf(stream);
    stream.resume();
    await rig.server.close();
    expect((await failed).code).toBe('TUNNEL_STREAM_RESET');
  });

  test('of the client lets open streams finish, then connects no more', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const closing = rig.client.close();
    stream.end('finished');
    expect((await readAll(stream)).toString()).toBe('finished');
    await closing;
    await expect(rig.connect()).rejects.toMatchObject({ code: 'TUNNEL_CLOSED' });
    await until(() => rig.server.sessions.length === 0);
  });

  test('waits for no connection that has not proven who it is', async () => {
    rig = await Rig.start();
    const socket = net.connect(rig.server.address.port, '127.0.0.1').on('error', () => undefined);
    await once(socket, 'connect');
    await new Promise((resolve) => setTimeout(resolve, 20));
    await rig.server.close();
  });

  test('destroy is now', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const failed = errorOf(stream);
    rig.server.destroy(new Error('enough'));
    expect((await failed).code).toBe('TUNNEL_STREAM_RESET');
    await until(() => rig.server.sessions.length === 0 && rig.client.sessions.length === 0);
  });

  test('a port in use is an error at once', async () => {
    rig = await Rig.start();
    await expect(rig.listen({ port: rig.server.address.port })).rejects.toMatchObject({ code: 'TUNNEL_LISTEN_FAILED' });
    await expect(rig.listen({ limits: { maxConnections: 0 } })).rejects.toMatchObject({
      code: 'TUNNEL_OPTION_INVALID',
    });
  });
});
