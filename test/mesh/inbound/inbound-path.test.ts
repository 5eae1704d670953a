import type { Duplex } from 'node:stream';
import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { LatestValueCell } from '../../../src/core/index.js';
import { EvidenceStore, InboundPath, PeerAuthenticator, prepareMeshView } from '../../../src/mesh/index.js';
import type { Arrival, DeliveryDial, InboundPathOptions, MeshEvent, MeshView } from '../../../src/mesh/index.js';
import { SpiffeId, workloadTokenHeader } from '../../../src/spiffe/index.js';
import { FakeClock, TestCa } from '../../../src/testing/index.js';
import type { TunnelRequest } from '../../../src/tunnel/index.js';
import { meshState } from '../fixtures.js';
import { policy, until } from '../support.js';

const clock = new FakeClock();
const ca = TestCa.create({ clock });
const svid = ca.svid('spiffe://cluster.local/agent/node-b');
const principal = SpiffeId.parse('spiffe://cluster.local/ns/frontend/sa/web');
const open = prepareMeshView('node-a')(meshState());
const denying = prepareMeshView('node-a')(
  meshState({ policies: [{ manifest: policy('p', 'api', 'ALLOW', [{ from: [{ namespaces: ['nobody'] }] }]) }] }),
);
const destination = { ip: '10.244.1.6', port: 8080 };

let views: LatestValueCell<MeshView | undefined>;
let events: MeshEvent[];
let upstreams: Duplex[];
let dial: DeliveryDial;
beforeEach(() => {
  views = new LatestValueCell<MeshView | undefined>(open);
  events = [];
  upstreams = [];
  dial = () => {
    const upstream = new PassThrough();
    upstreams.push(upstream);
    return Promise.resolve(upstream);
  };
});

const pathWith = (options: Partial<InboundPathOptions> = {}): InboundPath => {
  const evidence = new EvidenceStore({ clock });
  return new InboundPath({
    views: {
      get current() {
        return views.current;
      },
      subscribe: (listener) => views.subscribe((view) => view !== undefined && listener(view)),
    },
    evidence,
    authenticator: new PeerAuthenticator({ bundle: ca.bundle, evidence, clock, knowsNode: () => true }),
    dial: (request) => dial(request),
    clock,
    observer: (event) => void events.push(event),
    ...options,
  });
};
const arrival = (changes: Partial<Arrival> = {}): Arrival => ({
  source: { principal, node: 'node-b', via: 'token' },
  destination,
  traceId: '0'.repeat(32),
  signal: new AbortController().signal,
  accept: () => new PassThrough(),
  ...changes,
});
const refusals = (): unknown[] => events.flatMap((each) => (each.type === 'connection-refused' ? [each.reason] : []));

describe('InboundPath', () => {
  it('closes the workload connection when the asking side is gone by the time it is accepted', async () => {
    const outcome = await pathWith().serve(
      arrival({
        accept: () => {
          throw new Error('the peer gave the stream up');
        },
      }),
    );
    expect(outcome).toMatchObject({ served: false, reason: 'source-gone' });
    expect(upstreams.map(({ destroyed }) => destroyed)).toEqual([true]);
    expect(refusals()).toEqual(['source-gone']);
  });

  it('answers a CONNECT in every case, and does not reject when the tunnel has answered by itself', async () => {
    const token = ca.token({ workload: principal, node: 'node-b', keyThumbprint: svid.keyThumbprint });
    const request: TunnelRequest = {
      authority: '10.244.1.6:8080',
      target: { kind: 'ip', host: destination.ip, port: 8080, authority: '10.244.1.6:8080' },
      headers: { [workloadTokenHeader]: token },
      peer: {
        spiffeId: svid.spiffeId,
        keyThumbprint: svid.keyThumbprint,
        notAfter: svid.notAfter,
        serialNumber: svid.serialNumber,
        remoteAddress: { ip: '172.30.0.12', port: 1 },
      },
      session: {} as TunnelRequest['session'],
      signal: new AbortController().signal,
      accept: () => {
        throw new Error('answered already');
      },
      refuse: () => {
        throw new Error('answered already');
      },
    };
    await pathWith().onConnect(request);
    expect(refusals()).toEqual(['source-gone']);
    await pathWith().onConnect({ ...request, headers: {} });
    expect(refusals()).toEqual(['source-gone', 'token-missing']);
  });

  it('refuses by a snapshot that came while the workload was dialled', async () => {
    let aborted = false;
    dial = ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(signal.reason as Error);
        });
      });
    const path = pathWith();
    const served = path.serve(arrival());
    views.set(denying);
    expect(await served).toMatchObject({ served: false, reason: 'policy-changed' });
    expect(aborted).toBe(true);
    expect(path.connections).toEqual([]);
  });

  it('does not use a workload connection that came after the revocation', async () => {
    let connect: (upstream: Duplex) => void = () => undefined;
    dial = () => new Promise((resolve) => (connect = resolve));
    const served = pathWith().serve(arrival({ accept: () => expect.unreachable() }));
    views.set(denying);
    const late = new PassThrough();
    connect(late);
    expect(await served).toMatchObject({ served: false, reason: 'policy-changed' });
    expect(late.destroyed).toBe(true);
  });

  it('says that the workload could not be reached, or that nobody waits any more', async () => {
    dial = () => Promise.reject(new Error('refused'));
    expect(await pathWith().serve(arrival())).toMatchObject({ reason: 'deliver-failed' });
    expect(await pathWith().serve(arrival({ signal: AbortSignal.abort(new Error('gone')) }))).toMatchObject({
      reason: 'source-gone',
    });
  });

  it('bounds the connections of one source, and of all, with a reason of its own, and gives places back', async () => {
    const path = pathWith({ maxConnections: 3, maxConnectionsPerSource: 2 });
    const streams: Duplex[] = [];
    const serve = (from: Partial<Arrival['source']> = {}): ReturnType<InboundPath['serve']> => {
      const accept = (): Duplex => {
        const stream = new PassThrough();
        streams.push(stream);
        return stream;
      };
      return path.serve(arrival({ accept, source: { ...arrival().source, ...from } }));
    };
    const other = SpiffeId.parse('spiffe://cluster.local/ns/other/sa/x');
    const running = [serve(), serve()];
    expect(await serve()).toMatchObject({ served: false, reason: 'too-many-connections' });
    running.push(serve({ principal: other }));
    expect(await serve({ principal: other })).toMatchObject({ reason: 'too-many-connections' });
    await until(() => streams.length === 3);
    for (const stream of streams) stream.destroy();
    await Promise.all(running);
    const again = serve();
    await until(() => streams.length === 4);
    streams.at(-1)?.destroy();
    expect(await again).toMatchObject({ served: true });
  });

  it('refuses before the first snapshot, and while closing', async () => {
    const path = pathWith();
    views.set(undefined);
    expect(await path.serve(arrival())).toMatchObject({ reason: 'no-snapshot' });
    views.set(open);
    await path.close();
    expect(await path.serve(arrival())).toMatchObject({ reason: 'shutting-down' });
  });

  it('ends what is open when destroyed, and then close resolves', async () => {
    const path = pathWith();
    const stream = new PassThrough();
    const served = path.serve(arrival({ accept: () => stream }));
    await until(() => events.some(({ type }) => type === 'connection-opened'));
    path.destroy();
    await path.close();
    await served;
    expect([stream.destroyed, upstreams[0]?.destroyed]).toEqual([true, true]);
    expect(events.at(-1)).toMatchObject({ type: 'connection-closed', reason: 'shutting-down' });
  });

  it('gives two connections of one trace two names', async () => {
    const path = pathWith();
    const streams = [new PassThrough(), new PassThrough()];
    const served = streams.map((stream) => path.serve(arrival({ accept: () => stream })));
    await until(() => path.connections.length === 2);
    expect(new Set(path.connections.map(({ id }) => id)).size).toBe(2);
    for (const stream of streams) stream.destroy();
    await Promise.all(served);
  });
});
