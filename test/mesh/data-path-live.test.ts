/** What happens to connections that are open, and to what peers do wrong, over a whole mesh on loopback. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/core/index.js';
import { FakeClock, createTestMesh } from '../../src/testing/index.js';
import type { TestMesh } from '../../src/testing/index.js';
import { closed, next, policy, recordingLogger, transcript, until } from './support.js';

const get = { from: [{ namespaces: ['frontend'] }], to: [{ methods: ['GET'] }] };
const policies = [
  policy('api', 'api', 'ALLOW', [get]),
  policy('raw', 'raw', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }] }]),
  policy('rules', 'rules', 'ALLOW', [get]),
  policy('guarded', 'guarded', 'DENY', [{ to: [{ paths: ['/admin'] }] }]),
  policy('guarded-allow', 'guarded', 'ALLOW', [{ from: [{ namespaces: ['frontend'] }] }]),
];

/** Sockets of workloads, as the servers see them. */
const raw: Socket[] = [];
const streaming: ServerResponse[] = [];
const { logger, lines } = recordingLogger();
const clock = new FakeClock({ start: systemClock.now() });
let mesh: TestMesh;

beforeAll(async () => {
  const http = (name: string) => ({
    8080: (request: { url?: string | undefined }, response: ServerResponse) => {
      if (request.url === '/stream') {
        response.write('first ');
        streaming.push(response);
      } else response.end(`${name} ${String(request.url)}`);
    },
  });
  mesh = await createTestMesh({
    clock,
    logger,
    // Longer than a busy machine takes from one node to the other, both in this process.
    detectTimeoutMs: 1_500,
    nodes: ['node-a', 'node-b'],
    workloads: {
      'frontend/web': { node: 'node-a' },
      'other/rogue': { node: 'node-a' },
      'production/api-a': { node: 'node-a', servers: http('a') },
      'production/api-b': { node: 'node-b', servers: http('b') },
      'production/raw': {
        node: 'node-b',
        servers: {
          7000: {
            tcp: (socket) => {
              raw.push(socket);
              socket.write('220 ready\r\n');
              socket.on('data', (chunk) => void socket.write(chunk));
              socket.once('end', () => socket.end());
            },
          },
        },
      },
      'production/rules': {
        node: 'node-b',
        servers: {
          7001: { tcp: (socket) => void socket.write('220 should not be seen\r\n') },
        },
      },
      'production/guarded': {
        node: 'node-b',
        mtlsMode: 'PERMISSIVE',
        servers: http('guarded'),
      },
      'production/ws': {
        node: 'node-b',
        servers: {
          7002: {
            tcp: (socket) => {
              socket.once('data', () => {
                socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
                socket.on('data', (chunk) => void socket.write(chunk));
              });
            },
          },
        },
      },
    },
    services: {
      'production/api': { workloads: ['production/api-a', 'production/api-b'], port: 80 },
      'production/raw': { workloads: ['production/raw'] },
      'production/rules': { workloads: ['production/rules'] },
      'production/guarded': { workloads: ['production/guarded'], port: 80 },
      'production/ws': { workloads: ['production/ws'] },
    },
    policies,
  });
});
afterAll(() => mesh.close());
beforeEach(async () => {
  streaming.length = 0;
  await mesh.update((state) => ({
    ...state,
    denied: [],
    policies: policies.map((manifest) => ({ manifest })),
    workloads: state.workloads.map((each) => ({
      ...each,
      ready: true,
      mtlsMode: each.name === 'guarded' ? ('PERMISSIVE' as const) : ('STRICT' as const),
    })),
  }));
  mesh.events.length = 0;
  lines.length = 0;
});

const web = (): ReturnType<TestMesh['workload']> => mesh.workload('frontend/web');
const direct = (name: string, port: number): string => `${mesh.workload(`production/${name}`).address}:${String(port)}`;
/** The first part of a streamed response has come all the way. */
const seen = (socket: Socket): boolean => socket.bytesRead > 0;
const refusals = (): unknown[] =>
  mesh.events.flatMap((event) => (event.type === 'connection-refused' ? [[event.side, event.reason]] : []));
const endings = (): unknown[] =>
  mesh.events.flatMap((event) =>
    event.type === 'connection-closed' && event.side === 'inbound' ? [event.reason ?? event.outcome] : [],
  );

describe.each([
  ['on this node', 'api-a'],
  ['on another node', 'api-b'],
])('HTTP to a workload %s', (_where, name) => {
  const request = (path: string, method = 'GET'): string =>
    `${method} ${path} HTTP/1.1\r\nhost: api\r\ncontent-length: 0\r\n\r\n`;

  it('judges pipelined requests one by one', async () => {
    const socket = await web().connect(direct(name, 8080));
    const told = transcript(socket);
    socket.end(`${request('/1')}${request('/2', 'POST')}${request('/3')}`);
    const statuses = [...(await told).text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
    expect(statuses).toEqual(['200', '403', '200']);
  });

  it('cuts a streaming response that a newer policy denies, with a reset', async () => {
    const socket = await web().connect(direct(name, 8080));
    const told = transcript(socket);
    socket.write(request('/stream'));
    await until(() => seen(socket));
    await mesh.setPolicies([policy('api', 'api', 'ALLOW', [{ ...get, to: [{ methods: ['PUT'] }] }])]);
    expect((await told).reset).toBe(true);
    await until(() => endings().includes('policy-changed'));
  });

  it('spares a streaming response that a newer policy still allows', async () => {
    const socket = await web().connect(direct(name, 8080));
    const told = transcript(socket);
    socket.write(request('/stream'));
    await until(() => seen(socket));
    await mesh.setPolicies([policy('api', 'api', 'ALLOW', [{ ...get, to: [{ methods: ['GET', 'PUT'] }] }])]);
    streaming.pop()?.end('last');
    socket.end();
    expect((await told).text).toMatch(/first[^]*last/);
  });

  it('keeps the connections of a workload that is not ready any more, and gives it no new ones', async () => {
    const socket = await web().connect(direct(name, 8080));
    socket.write(request('/1'));
    expect(await next(socket)).toMatch(/ 200 /);
    await mesh.update((state) => ({
      ...state,
      workloads: state.workloads.map((each) => (each.name === name ? { ...each, ready: false } : each)),
    }));
    socket.write(request('/2'));
    expect(await next(socket)).toMatch(/ 200 /);
    socket.destroy();
    expect((await web().fetch(`http://${direct(name, 8080)}/`)).status).toBe(503);
  });
});

describe('an upgraded connection', () => {
  it('passes bytes while its request is allowed, and is cut when a newer policy no longer allows it', async () => {
    const wsPolicy = (path: string) => policy('ws', 'ws', 'ALLOW', [{ to: [{ paths: [path] }] }]);
    await mesh.setPolicies([wsPolicy('/chat')]);
    const socket = await web().connect('ws.production:7002');
    socket.write('GET /chat HTTP/1.1\r\nhost: ws\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
    expect(await next(socket)).toMatch(/ 101 /);
    socket.write('frame');
    expect(await next(socket)).toBe('frame');
    await mesh.setPolicies([wsPolicy('/chat'), policy('x', 'raw', 'ALLOW', [get])]);
    socket.write('again');
    expect(await next(socket)).toBe('again');
    const over = closed(socket);
    await mesh.setPolicies([wsPolicy('/elsewhere')]);
    await over;
    await until(() => endings().length > 0);
    expect(endings()).toEqual(['policy-changed']);
  });
});

describe('a port with HTTP rules', () => {
  const answerTo = async (bytes: Buffer | undefined): Promise<{ readonly text: string; readonly reset: boolean }> => {
    const socket = await web().connect('rules.production:7001');
    const told = transcript(socket);
    if (bytes !== undefined) socket.write(bytes);
    return told;
  };
  const reported = (): unknown =>
    mesh.events.find((event) => event.type === 'connection-refused' && event.reason === 'http-required');

  it.each([
    ['TLS', 'tls', Buffer.from('16030100710100006d0303', 'hex'), /speaks TLS/],
    ['HTTP/2', 'http2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /speaks HTTP\/2/],
    ['opaque bytes', 'opaque', Buffer.from([1, 2, 3, 4]), /does not speak HTTP/],
    ['silence', 'silent', undefined, /server-first/],
  ] as const)('refuses %s with a reset, and says what it was', async (_name, protocol, bytes, hint) => {
    const { text, reset } = await answerTo(bytes);
    expect({ text, reset }).toEqual({ text: '', reset: true });
    expect(reported()).toMatchObject({ protocol, side: 'inbound', decision: { allowed: false } });
    const line = lines.find(({ fields }) => fields['reason'] === 'http-required');
    expect(line?.fields).toMatchObject({ protocol, detail: expect.stringMatching(hint) as string });
  });

  it('never lets opaque bytes past a DENY with HTTP terms, and never takes them for an ALLOW with HTTP terms', async () => {
    const socket = await web().connect('guarded.production:80');
    const told = transcript(socket);
    socket.write(Buffer.from([0, 1, 2, 3]));
    expect(await told).toEqual({ text: '', reset: true });
    expect((await web().fetch('http://guarded.production/ok')).status).toBe(200);
    expect((await web().fetch('http://guarded.production/admin')).status).toBe(403);
  });

  it('answers half a request and then an end', async () => {
    const socket = await web().connect(direct('api-b', 8080));
    const told = transcript(socket);
    socket.end('GET / HT');
    expect((await told).text).not.toMatch(/ 200 /);
  });
});

describe('raw TCP', () => {
  it('of a server that speaks first does not wait for the client', async () => {
    await using patient = await createTestMesh({
      detectTimeoutMs: 30_000,
      workloads: {
        'frontend/web': { node: 'a' },
        'production/raw': { node: 'b', servers: { 7000: { tcp: (socket) => void socket.write('220 ready\r\n') } } },
      },
      services: { 'production/raw': { workloads: ['production/raw'] } },
    });
    const startedMs = performance.now();
    const socket = await patient.workload('frontend/web').connect('raw.production:7000');
    expect(await next(socket)).toBe('220 ready\r\n');
    // Detection alone would have taken 30 s.
    expect(performance.now() - startedMs).toBeLessThan(20_000);
    socket.destroy();
  });

  it('reaches a reset client as a reset workload connection, and the other way round', async () => {
    const socket = await web().connect('raw.production:7000');
    await next(socket);
    const server = raw.at(-1)!;
    const seen = transcript(server);
    socket.write('part of an upl');
    await next(socket);
    socket.resetAndDestroy();
    expect((await seen).reset).toBe(true);

    const second = await web().connect('raw.production:7000');
    await next(second);
    const told = transcript(second);
    raw.at(-1)!.resetAndDestroy();
    expect((await told).reset).toBe(true);
  });

  it('delivers everything that was sent before the end, also when the workload ended first and reads late', async () => {
    const socket = await web().connect('raw.production:7000');
    await next(socket);
    const server = raw.at(-1)!;
    server.removeAllListeners('data');
    server.pause();
    server.end();
    await once(socket, 'end');
    const size = 3_000_000;
    socket.end(Buffer.alloc(size, 'x'));
    await new Promise((done) => setTimeout(done, 200));
    let received = 0;
    let reset = false;
    server.on('error', () => (reset = true));
    server.on('data', (chunk: Buffer) => (received += chunk.length));
    server.resume();
    await Promise.race([once(server, 'end').catch(() => undefined), once(server, 'close')]);
    expect({ received, reset }).toEqual({ received: size, reset: false });
    await until(() => endings().length > 0);
    expect(endings()).toEqual(['eof']);
  });

  it('is cut when its service is denied whole, and refused after', async () => {
    const socket = await web().connect('raw.production:7000');
    await next(socket);
    const over = closed(socket);
    await mesh.update((state) => ({ ...state, denied: [{ service: 'production/raw', reason: 'unreadable' }] }));
    await over;
    await until(() => endings().length > 0);
    expect(endings()).toEqual(['policy-changed']);
    const again = await web().connect('raw.production:7000');
    again.write('x');
    await closed(again);
    await until(() => refusals().length > 0);
    expect(refusals()).toContainEqual(['inbound', 'policy-unreadable']);
  });

  it('is kept alive by a token renewed on a new session', async () => {
    const socket = await web().connect('raw.production:7000');
    await next(socket);
    clock.advance(2_400_000);
    await mesh.node('node-a').renew();
    clock.advance(2_400_000);
    socket.write('still here');
    expect(await next(socket)).toBe('still here');
    await mesh.node('node-a').renew();
    socket.destroy();
  });
});

describe('plaintext', () => {
  const plain = (path: string): Promise<Socket> =>
    mesh
      .connectPlaintext('192.0.2.7', { ip: mesh.workload('production/guarded').address, port: 8080 })
      .then((socket) => {
        socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
        return socket;
      });

  it('under PERMISSIVE meets the DENY rules, and no ALLOW by identity', async () => {
    await mesh.setPolicies([policies[3]!]);
    expect(await next(await plain('/ok'))).toMatch(/ 200 /);
    expect(await next(await plain('/admin'))).toMatch(/ 403 /);
    await mesh.setPolicies([policies[4]!]);
    expect(await next(await plain('/ok'))).toMatch(/ 403 /);
  });

  it('that is open is cut when its workload becomes STRICT', async () => {
    await mesh.setPolicies([policies[3]!]);
    const socket = await plain('/ok');
    await next(socket);
    const over = closed(socket);
    await mesh.update((state) => ({
      ...state,
      workloads: state.workloads.map((each) => ({ ...each, mtlsMode: 'STRICT' as const })),
    }));
    await over;
    await until(() => endings().length > 0);
    expect(endings()).toEqual(['plaintext-strict']);
  });

  it('to an address the snapshot does not have is refused', async () => {
    const { port } = await mesh.workload('other/rogue').listenerFor('raw.production:7000');
    // Stands for a stale rule: the capture says a destination that is nobody's.
    const socket = connect({ port, host: '127.0.0.1' });
    await once(socket, 'connect');
    const over = closed(socket);
    await mesh.node('node-b').captureInbound(socket, { ip: '192.0.2.7', port: 1 }, { ip: '10.244.9.9', port: 80 });
    await over;
    await until(() => refusals().length > 0);
    expect(refusals()).toContainEqual(['inbound', 'plaintext-strict']);
  });
});

describe('bad input to a captured port', () => {
  it.each([
    ['64 KiB of garbage', Buffer.alloc(65_536, 0xa5)],
    ['half a request and silence', Buffer.from('GET /x HTT')],
    ['an endless header', Buffer.concat([Buffer.from('GET / HTTP/1.1\r\nx: '), Buffer.alloc(262_144, 'a')])],
  ])('%s: ends in bounded time, and others are served meanwhile', async (name, bytes) => {
    const sockets = await Promise.all(
      Array.from({ length: 10 }, (_each, index) =>
        index % 2 === 0
          ? web().connect('api.production:80')
          : mesh.workload('other/rogue').connect('api.production:80'),
      ),
    );
    const over = sockets.map(closed);
    for (const socket of sockets) socket.write(bytes);
    expect((await web().fetch('http://api.production/during')).status).toBe(200);
    if (name.startsWith('half')) for (const socket of sockets) socket.destroy();
    await Promise.all(over);
    expect((await web().fetch('http://api.production/after')).status).toBe(200);
  });

  it('a client that leaves at once, by FIN or RST, leaves nothing behind', async () => {
    const server = raw.length;
    await Promise.all(
      Array.from({ length: 20 }, async (_each, index) => {
        const socket = await web().connect(index % 3 === 0 ? 'raw.production:7000' : 'api.production:80');
        if (index % 2 === 0) socket.resetAndDestroy();
        else socket.destroy();
      }),
    );
    await until(() => raw.slice(server).every((socket) => socket.destroyed));
    expect((await web().fetch('http://api.production/')).status).toBe(200);
    const ids = (type: string): string[] =>
      mesh.events.flatMap((event) => (event.type === type ? [event.connection.id] : []));
    await until(() => ids('connection-opened').every((id) => ids('connection-closed').includes(id)));
  });
});

describe('snapshot after snapshot under load', () => {
  it('no request is wrongly allowed or refused', async () => {
    let running = true;
    const swapping = (async () => {
      for (let round = 0; running; round += 1) {
        await mesh.setPolicies([...policies, policy(`noise-${String(round)}`, 'raw', 'ALLOW', [get])]);
        await new Promise((done) => setTimeout(done, 2));
      }
    })();
    const ask = async (from: string, expected: number): Promise<void> => {
      for (let index = 0; index < 25; index += 1) {
        expect((await mesh.workload(from).fetch('http://api.production/')).status).toBe(expected);
      }
    };
    try {
      await Promise.all([ask('frontend/web', 200), ask('frontend/web', 200), ask('other/rogue', 403)]);
    } finally {
      running = false;
      await swapping;
    }
  });
});

describe('closing', () => {
  it('with open streams ends quickly and leaves no socket', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
    const own = await createTestMesh({
      workloads: {
        'frontend/web': { node: 'a' },
        'production/raw': { node: 'b', servers: { 7000: { tcp: (socket) => void socket.write('hello') } } },
        'production/near': { node: 'a', servers: { 7000: { tcp: (socket) => void socket.write('hello') } } },
      },
    });
    const sockets = await Promise.all(
      ['production/raw', 'production/near'].flatMap((name) =>
        Array.from({ length: 5 }, () => own.workload('frontend/web').connect(`${own.workload(name).address}:7000`)),
      ),
    );
    await Promise.all(sockets.map(next));
    const startedMs = performance.now();
    await own.close();
    expect(performance.now() - startedMs).toBeLessThan(2_000);
    await until(() => process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length <= before);
  });
});
