import { once } from 'node:events';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.js';
import { rawHttp2 } from './raw.js';
import { Rig, agentB, readAll, until } from './support.js';

let rig: Rig;
afterEach(() => rig.stop());

const MiB = 1 << 20;
const common = { initialWindowSize: 4 * MiB, maxFrameSize: MiB, maxHeaderListSize: 65_536, headerTableSize: 65_536 };

/** A server that Node alone makes, to see what our client sends. */
async function foreignServer(): Promise<{ address: string; server: http2.Http2SecureServer; close: () => void }> {
  const { chainPem, privateKeyPem } = rig.ca.svid(agentB);
  const server = http2.createSecureServer({
    cert: chainPem,
    key: privateKeyPem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const close = (): void => {
    for (const session of sessions) session.destroy();
    server.close();
  };
  return { address: `127.0.0.1:${String((server.address() as net.AddressInfo).port)}`, server, close };
}

describe('settings', () => {
  test('of the server', async () => {
    rig = await Rig.start();
    const session = await rawHttp2(rig);
    expect(session.remoteSettings).toMatchObject({ ...common, maxConcurrentStreams: 200 });
    await until(() => session.state.remoteWindowSize === 16 * MiB);
    session.destroy();
  });

  test('of the client, and what its CONNECT carries', async () => {
    rig = await Rig.start();
    const { address, server, close } = await foreignServer();
    const streamed = once(server, 'stream') as Promise<[http2.ServerHttp2Stream, http2.IncomingHttpHeaders]>;
    const connecting = rig.connect('[::ffff:10.0.0.7]:8080', { address, headers: { baggage: 'x=y' } });
    const [stream, headers] = await streamed;
    expect(stream.session?.remoteSettings).toMatchObject({ ...common, maxConcurrentStreams: 100, enablePush: false });
    await until(() => stream.session?.state.remoteWindowSize === 16 * MiB);
    expect(Object.fromEntries(Object.entries(headers))).toEqual({
      ':method': 'CONNECT',
      ':authority': '10.0.0.7:8080',
      baggage: 'x=y',
    });
    const socket = stream.session?.socket as unknown as { servername: unknown; getProtocol: () => string };
    expect([socket.servername, socket.getProtocol()]).toEqual([false, 'TLSv1.3']);
    stream.respond({ ':status': 200 });
    await connecting;
    close();
  });

  test('a peer that allows fewer streams gets fewer', async () => {
    rig = await Rig.start({ limits: { maxStreamsPerSession: 3 } });
    await Promise.all([1, 2, 3, 4].map(() => rig.connect()));
    expect(rig.client.sessions.map(({ streams }) => streams)).toEqual([3, 1]);
  });
});

describe('answers of a foreign server', () => {
  test.each([201, 204, 301, 404, 500])('%s is a refusal', async (status) => {
    rig = await Rig.start();
    const { address, server, close } = await foreignServer();
    server.on('stream', (stream: http2.ServerHttp2Stream) => {
      stream.on('error', () => undefined);
      stream.respond({ ':status': status });
    });
    await expect(rig.connect('10.0.0.7:80', { address })).rejects.toMatchObject({ code: 'TUNNEL_REFUSED', status });
    await until(() => rig.client.sessions[0]?.streams === 0);
    close();
  });

  test('none in time is an error', async () => {
    rig = await Rig.start({}, { limits: { responseTimeoutMs: 50 } });
    const { address, close } = await foreignServer();
    await expect(rig.connect('10.0.0.7:80', { address })).rejects.toMatchObject({ code: 'TUNNEL_RESPONSE_TIMEOUT' });
    close();
  });
});

describe('header compression', () => {
  test('30 tokens of 520 bytes in turn cost less than 150 bytes per CONNECT, TLS included', async () => {
    let socket: net.Socket | undefined;
    rig = await Rig.start(
      {},
      {
        dial: async ({ destination }) => {
          socket = net.connect(destination.port, destination.ip);
          await once(socket, 'connect');
          return socket;
        },
      },
    );
    const tokens = Array.from({ length: 30 }, (_, index) => String(index).padStart(4, '0').repeat(130));
    const round = async (): Promise<void> => {
      for (const token of tokens) {
        const { stream } = await rig.connect('10.0.0.7:80', { headers: { 'x-meshwright-workload-token': token } });
        stream.end();
        await readAll(stream);
      }
    };
    await round();
    const before = socket?.bytesWritten ?? 0;
    for (let index = 0; index < 5; index += 1) await round();
    expect(((socket?.bytesWritten ?? 0) - before) / 150).toBeLessThan(150);
  });
});

describe('our own SVID', () => {
  test('past its end opens no stream, on an open session either', async () => {
    const clock = new FakeClock({ start: Date.now() });
    rig = await Rig.start({}, { clock });
    await rig.connect();
    // Certificates end at whole seconds, and the two were not made in the same one.
    clock.jumpWall(3_602_000);
    await expect(rig.connect()).rejects.toMatchObject({ code: 'TUNNEL_SVID_EXPIRED' });
  });

  test('past its end takes no session', async () => {
    const clock = new FakeClock({ start: Date.now() });
    rig = await Rig.start({ clock });
    // A minute more than the lifetime: the certificate was issued a little after the clock was set.
    clock.jumpWall(3_660_000);
    await expect(rig.connect()).rejects.toMatchObject({
      code: expect.stringMatching(/^TUNNEL_(SESSION|TLS|DIAL)_FAILED$/),
    });
    expect(rig.refusals).toEqual(['TUNNEL_SVID_EXPIRED']);
  });
});
