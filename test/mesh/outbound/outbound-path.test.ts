import { Duplex, PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { OutboundPath, SourcePins, prepareMeshView } from '../../../src/mesh/index.js';
import type {
  InboundPath,
  LocalAuthenticator,
  MeshEvent,
  MeshViews,
  OutboundPathOptions,
  Served,
} from '../../../src/mesh/index.js';
import { FakeClock } from '../../../src/testing/index.js';
import { TunnelError, TunnelRefused } from '../../../src/tunnel/index.js';
import type { TunnelClient, TunnelConnectOptions } from '../../../src/tunnel/index.js';
import { meshState, meshStateInput } from '../fixtures.js';

/** A captured socket; the application has said nothing yet. */
class Captured extends Duplex {
  wasReset = false;
  override _read(): void {
    // Silent.
  }
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
  resetAndDestroy(): this {
    this.wasReset = true;
    return this.destroy();
  }
}

const view = prepareMeshView('node-a')(meshState());
const service = { ip: '10.96.0.10', port: 80 };
const source = { ip: '10.244.1.5', port: 40_000 };

let clock: FakeClock;
let events: MeshEvent[];
/** Endpoints that were asked, in order. */
let asked: string[];
let tunnel: (options: TunnelConnectOptions) => Promise<Duplex>;
let local: () => Served;
let pins: SourcePins;

beforeEach(() => {
  clock = new FakeClock();
  events = [];
  asked = [];
  tunnel = () => Promise.resolve(new PassThrough());
  local = () => ({ served: false, reason: 'deliver-failed' });
  pins = new SourcePins();
  pins.replace(
    new Map(view.index.localWorkloads.map((workload, index) => [workload, { name: `v${String(index)}`, index }])),
  );
});

const pathWith = (options: Partial<OutboundPathOptions> = {}): OutboundPath =>
  new OutboundPath({
    views: { current: view, subscribe: () => ({ [Symbol.dispose]: () => undefined }) },
    client: {
      connect: async (request: TunnelConnectOptions) => {
        asked.push(request.authority);
        return { stream: await tunnel(request) };
      },
    } as unknown as TunnelClient,
    tokens: { token: () => Promise.resolve('token') },
    inbound: {
      serve: ({ destination }: { destination: { ip: string; port: number } }) => {
        asked.push(`${destination.ip}:${String(destination.port)}`);
        return Promise.resolve(local());
      },
    } as unknown as InboundPath,
    local: {
      authenticate: () => Promise.resolve({ via: 'local' }),
    } as unknown as LocalAuthenticator,
    pins,
    clock,
    observer: (event) => void events.push(event),
    ...options,
  });
const carry = async (
  path = pathWith(),
  to = service,
  from = source,
): Promise<{ socket: Captured; reasons: unknown[] }> => {
  const socket = new Captured({ allowHalfOpen: true });
  const carried = path.onConnection({ socket, originalDestination: to, source: from });
  for (let step = 0; step < 4; step += 1) await clock.advanceAsync(1_000);
  await carried;
  return { socket, reasons: events.flatMap((each) => (each.type === 'connection-refused' ? [each.reason] : [])) };
};
const both = ['10.244.1.6:8080', '10.244.2.6:8080'];

describe('OutboundPath', () => {
  it.each([403, 400, 401])('never takes a %i to another endpoint', async (status) => {
    local = () => ({ served: false, reason: 'denied-by-policy' });
    tunnel = () => Promise.reject(new TunnelRefused(status, 'x'));
    const path = pathWith();
    for (let turn = 0; turn < 2; turn += 1) {
      asked = [];
      events = [];
      const { reasons } = await carry(path);
      expect(asked).toHaveLength(1);
      expect(reasons).toEqual([asked[0] === both[0] ? 'denied-by-policy' : 'refused-by-destination']);
    }
  });

  it.each([404, 503])('tries another endpoint after a %i, and then gives up', async (status) => {
    tunnel = () => Promise.reject(new TunnelRefused(status, 'x'));
    const { socket } = await carry();
    expect(asked.toSorted()).toEqual(both);
    expect(socket.wasReset).toBe(true);
  });

  it('tries another endpoint when an agent cannot be reached', async () => {
    tunnel = () => Promise.reject(new TunnelError('TUNNEL_DIAL_FAILED', 'x'));
    await carry();
    expect(asked.toSorted()).toEqual(both);
  });

  it.each([
    ['an address of nobody', '192.0.2.1', 'source-unknown'],
    ["the node's own address", '172.30.0.11', 'source-unknown'],
    ['a pod of another node', '10.244.2.6', 'source-unknown'],
  ])('refuses %s as a source', async (_what, ip, reason) => {
    expect((await carry(undefined, service, { ip, port: 1 })).reasons).toEqual([reason]);
    expect(asked).toEqual([]);
  });

  it('refuses a source that is not pinned, unless the operator trusts the network', async () => {
    pins.interfaceChanged({ name: 'v0', index: 0, removed: true });
    expect((await carry()).reasons).toEqual(['source-unpinned']);
    expect(asked).toEqual([]);
    tunnel = () => Promise.reject(new TunnelRefused(503, 'x'));
    await carry(pathWith({ pins: undefined }));
    expect(asked).not.toEqual([]);
  });

  it.each([
    ["its own node's tunnel", { ip: '172.30.0.11', port: 15002 }],
    ['its own listener', { ip: '127.0.0.1', port: 15001 }],
    ['another port of the ClusterIP', { ip: '10.96.0.10', port: 81 }],
    ['a pod that is not enrolled', { ip: '10.244.1.5', port: 80 }],
  ])('passes nothing on to %s', async (_what, to) => {
    expect((await carry(undefined, to)).reasons).toEqual(['destination-unknown']);
    expect(asked).toEqual([]);
  });

  it('resets at once what is too much, for one source and in all', async () => {
    tunnel = () => new Promise(() => undefined);
    local = () => ({ served: false, reason: 'deliver-failed' });
    const path = pathWith({ maxConnections: 3, maxConnectionsPerSource: 2 });
    const open = (ip: string): Captured => {
      const socket = new Captured({ allowHalfOpen: true });
      void path.onConnection({ socket, originalDestination: service, source: { ip, port: 1 } });
      return socket;
    };
    const sockets = [open('10.244.1.5'), open('10.244.1.5'), open('10.244.1.5'), open('192.0.2.1'), open('192.0.2.2')];
    expect(sockets.map(({ wasReset }) => wasReset)).toEqual([false, false, true, false, true]);
    const reasons = events.flatMap((each) => (each.type === 'connection-refused' ? [each.reason] : []));
    expect(reasons.filter((reason) => reason === 'too-many-connections')).toHaveLength(2);
    path.destroy();
  });

  it('resets, and does not reject, when something in here fails unexpectedly', async () => {
    const views: MeshViews = {
      get current(): never {
        throw new Error('bug');
      },
      subscribe: () => ({ [Symbol.dispose]: () => undefined }),
    };
    expect((await carry(pathWith({ views }))).socket.wasReset).toBe(true);
  });

  it('sends the token, the claimed address and the trace to the agent of the destination', async () => {
    const seen: TunnelConnectOptions[] = [];
    tunnel = (options) => {
      seen.push(options);
      return Promise.reject(new TunnelRefused(403, 'x'));
    };
    await carry(undefined, { ip: '10.244.2.6', port: 1234 });
    expect(seen[0]).toMatchObject({ authority: '10.244.2.6:1234', address: { ip: '172.30.0.12', port: 15012 } });
    expect(String(seen[0]?.peer)).toBe('spiffe://cluster.local/agent/node-b');
    const headers = seen[0]?.headers;
    expect(typeof headers === 'function' ? await headers({ keyThumbprint: 'k' }) : headers).toMatchObject({
      'x-meshwright-workload-token': 'token',
      forwarded: 'for="10.244.1.5:40000"',
    });
  });

  it('gives up an endpoint on a node that the snapshot does not have', async () => {
    const lost = prepareMeshView('node-a')(meshState({ nodes: [meshStateInput().nodes[0]!] }));
    const views: MeshViews = { current: lost, subscribe: () => ({ [Symbol.dispose]: () => undefined }) };
    const { reasons } = await carry(pathWith({ views }), { ip: '10.244.2.6', port: 80 });
    expect(reasons).toEqual(['endpoint-unreachable']);
  });
});
