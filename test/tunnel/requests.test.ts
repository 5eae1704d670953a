import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/fake-clock.js';
import type { TunnelAnnouncement, TunnelRequest } from '../../src/tunnel/index.js';
import { clientPreface, connectAndReset, rawHttp2, rawRequest, rawTls } from './raw.js';
import { Rig, agentA, agentB, echo, errorOf, readAll, until } from './support.js';

let rig: Rig;
afterEach(() => rig.stop());

const statusOf = async (): Promise<unknown> =>
  rig.connect().catch((error: unknown) => (error as { status?: number }).status);

describe('onConnect', () => {
  test.each([
    [
      'throws',
      () => {
        throw new Error('a bug');
      },
    ],
    [
      'rejects',
      async () => {
        await Promise.resolve();
        throw new Error('a bug');
      },
    ],
  ] as const)('that %s gets 503, and the reason is logged here only', async (_how, onConnect) => {
    rig = await Rig.start({ onConnect });
    expect(await statusOf()).toBe(503);
    expect(rig.logged('TUNNEL_HANDLER_FAILED')[0]?.fields['reason']).toMatch(/a bug/);
  });

  test('that never answers gets 503 at the deadline, and is told', async () => {
    let request: TunnelRequest | undefined;
    rig = await Rig.start({ onConnect: (given) => void (request = given), limits: { answerTimeoutMs: 50 } });
    expect(await statusOf()).toBe(503);
    await until(() => request?.signal.aborted === true);
    expect(() => request?.accept()).toThrowError(expect.objectContaining({ code: 'TUNNEL_ANSWER_INVALID' }) as Error);
  });

  test.each([200, 302, 42, Number.NaN])('that refuses with %s gets 503', async (status) => {
    rig = await Rig.start({ onConnect: (request) => request.refuse(status) });
    expect(await statusOf()).toBe(503);
  });

  test('may answer once only', async () => {
    const errors: unknown[] = [];
    rig = await Rig.start({
      onConnect: (request) => {
        request.refuse(404);
        for (const again of [() => request.accept(), () => request.refuse(403)]) {
          try {
            again();
          } catch (error) {
            errors.push((error as { code?: string }).code);
          }
        }
      },
    });
    expect(await statusOf()).toBe(404);
    expect(errors).toEqual(['TUNNEL_ANSWER_INVALID', 'TUNNEL_ANSWER_INVALID']);
  });

  test('that throws after accept() leaves nothing half open', async () => {
    rig = await Rig.start({
      onConnect: async (request) => {
        request.accept().on('error', () => undefined);
        await new Promise((resolve) => setTimeout(resolve, 50));
        throw new Error('a bug');
      },
    });
    const { stream } = await rig.connect();
    stream.resume();
    expect((await errorOf(stream)).code).toBe('TUNNEL_STREAM_RESET');
    await until(() => rig.server.sessions[0]?.streams === 0);
  });

  test('is told when the peer gives up', async () => {
    let request: TunnelRequest | undefined;
    rig = await Rig.start({ onConnect: (given) => void (request = given) });
    const abort = new AbortController();
    const connecting = rig.connect('10.0.0.7:80', { signal: abort.signal });
    await until(() => request !== undefined);
    abort.abort(new Error('changed my mind'));
    await expect(connecting).rejects.toThrow('changed my mind');
    await until(() => request?.signal.aborted === true);
    await until(() => rig.server.sessions[0]?.streams === 0 && rig.client.sessions[0]?.streams === 0);
  });

  test('gets headers of strange names without harm', async () => {
    let request: TunnelRequest | undefined;
    rig = await Rig.start({
      onConnect: (given) => {
        request = given;
        return echo(given);
      },
    });
    const { stream } = await rig.connect('10.0.0.7:80', { headers: { ['__proto__']: 'x', constructor: 'y' } as never });
    stream.destroy();
    expect(request?.headers['constructor']).toBe('y');
    expect(Object.getPrototypeOf(request?.headers)).toBe(null);
  });

  test('header names and values that cannot be sent are refused before anything is sent', async () => {
    rig = await Rig.start();
    for (const headers of [{ ':path': '/' }, { Upper: 'x' }, { host: 'x' }, { x: 'a\r\nb' }, { x: 'a\0' }] as Record<
      string,
      string
    >[]) {
      await expect(rig.connect('10.0.0.7:80', { headers })).rejects.toMatchObject({ code: 'TUNNEL_OPTION_INVALID' });
    }
    await until(() => rig.server.sessions[0]?.streams === 0);
    expect(rig.server.sessions[0]?.streamsTotal).toBe(0);
  });
});

describe('a session whose peer has expired', () => {
  test('takes no new stream and no evidence, but keeps what is open', async () => {
    const clock = new FakeClock({ start: Date.now() });
    rig = await Rig.start({ clock, onAnnounce: () => 200 });
    const session = await rawHttp2(rig);
    const connect = { ':method': 'CONNECT', ':authority': '10.0.0.7:80' };
    const open = session.request(connect, { endStream: false });
    await new Promise((resolve) => open.once('response', resolve));
    clock.jumpWall(3_600_000);
    expect(await rawRequest(session, connect)).toMatchObject({ status: 401 });
    expect(rig.logged('TUNNEL_PEER_EXPIRED')).toHaveLength(1);
    open.write(Buffer.from('still'));
    expect(String(await new Promise((resolve) => open.once('data', resolve)))).toBe('still');
    open.destroy();
    await until(() => rig.server.sessions.length === 0);
  });
});

describe('evidence', () => {
  test('reaches the server on every session, made for the key of that session', async () => {
    const seen: TunnelAnnouncement[] = [];
    rig = await Rig.start({ onAnnounce: (announcement): number => (seen.push(announcement), 204) });
    const { stream } = await rig.connect();
    const keys: string[] = [];
    const results = await rig.client.announce({
      peer: agentB,
      headers: ({ keyThumbprint }) => (keys.push(keyThumbprint), { 'x-meshwright-workload-token': 'fresh' }),
    });
    expect(results).toMatchObject([{ status: 204 }]);
    expect(seen[0]?.headers['x-meshwright-workload-token']).toBe('fresh');
    expect(seen[0]?.session.peer.spiffeId.toString()).toBe(agentA);
    expect(keys).toEqual([rig.clientSvid.current.keyThumbprint]);
    expect(await rig.client.announce({ peer: agentA, headers: {} })).toEqual([]);
    stream.destroy();
  });

  test('opens a session when open streams are left on retiring ones only', async () => {
    const keys: string[] = [];
    rig = await Rig.start({ onAnnounce: ({ peer }): number => (keys.push(peer.keyThumbprint), 200) });
    const { stream } = await rig.connect();
    rig.clientSvid.set(rig.ca.svid(agentA));
    expect(await rig.client.announce({ peer: agentB, headers: {} })).toMatchObject([{ status: 200 }]);
    expect(keys).toEqual([rig.clientSvid.current.keyThumbprint]);
    expect(rig.client.sessions.map(({ state }) => state)).toEqual(['draining', 'open']);
    stream.destroy();
    await until(() => rig.client.sessions.length === 1);
  });

  test.each([
    ['refused', (): number => 401, 401],
    [
      'judged by a handler that throws',
      (): number => {
        throw new Error('a bug');
      },
      503,
    ],
    ['answered with nonsense', (): number => 7, 503],
  ] as const)('%s', async (_name, onAnnounce, status) => {
    rig = await Rig.start({ onAnnounce });
    const { stream } = await rig.connect();
    expect(await rig.client.announce({ peer: agentB, headers: {} })).toMatchObject([{ status }]);
    stream.destroy();
  });

  test('is not taken by a server that expects none', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    expect(await rig.client.announce({ peer: agentB, headers: {} })).toMatchObject([{ status: 405 }]);
    stream.destroy();
  });
});

describe('a flood', () => {
  test('of reset streams ends the session, not the server', async () => {
    rig = await Rig.start({ limits: { resetBurst: 50, resetsPerSecond: 1 } });
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write(clientPreface);
    for (let index = 0; index < 300; index += 1) socket.write(connectAndReset(2 * index + 1));
    await until(() => rig.events.some((event) => event.type === 'session-closed' && event.reason === 'TUNNEL_ABUSE'));
    const { stream } = await rig.connect();
    stream.destroy();
  });

  test('of connections is bounded while handshakes are pending, per address', async () => {
    rig = await Rig.start({ limits: { maxPendingHandshakesPerAddress: 5 } });
    const sockets = Array.from({ length: 20 }, () =>
      net.connect(rig.server.address.port, '127.0.0.1').on('error', () => undefined),
    );
    await until(() => rig.refusals.filter((reason) => reason === 'TUNNEL_LIMIT').length === 15);
    for (const socket of sockets) socket.destroy();
    await until(() => rig.refusals.length === 20);
    const { stream } = await rig.connect();
    stream.destroy();
  });

  test('of garbage from 300 connections at once is refused one by one', async () => {
    rig = await Rig.start({ limits: { handshakeTimeoutMs: 1_000 } });
    const garbage = Buffer.concat([Buffer.from([0xff]), Buffer.alloc(65_535, 0xa5)]);
    const sockets = Array.from({ length: 300 }, () =>
      net
        .connect(rig.server.address.port, '127.0.0.1', function (this: net.Socket) {
          this.write(garbage);
        })
        .on('error', () => undefined),
    );
    await until(() => rig.refusals.length === 300);
    for (const socket of sockets) socket.destroy();
    expect(new Set(rig.refusals)).toContain('TUNNEL_TLS_FAILED');
    expect(
      [...new Set(rig.refusals)].filter((reason) => !['TUNNEL_TLS_FAILED', 'TUNNEL_LIMIT'].includes(reason)),
    ).toEqual([]);
    const { stream } = await rig.connect();
    stream.end('served');
    expect((await readAll(stream)).toString()).toBe('served');
  });

  test('of sessions of one peer is bounded', async () => {
    rig = await Rig.start({ limits: { maxSessionsPerPeer: 2 } });
    const sessions = [await rawHttp2(rig), await rawHttp2(rig)];
    await expect(rig.connect()).rejects.toMatchObject({
      code: expect.stringMatching(/^TUNNEL_(SESSION|TLS|DIAL)_FAILED$/),
    });
    expect(rig.refusals).toEqual(['TUNNEL_LIMIT']);
    for (const session of sessions) session.destroy();
  });

  test('of connections beyond maxConnections is dropped', async () => {
    rig = await Rig.start({ limits: { maxConnections: 2 } });
    const sessions = [await rawHttp2(rig), await rawHttp2(rig)];
    await expect(rig.connect()).rejects.toMatchObject({
      code: expect.stringMatching(/^TUNNEL_(SESSION|TLS|DIAL)_FAILED$/),
    });
    expect(rig.refusals).toEqual(['TUNNEL_LIMIT']);
    for (const session of sessions) session.destroy();
  });
});
