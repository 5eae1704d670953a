/** The parts of a few lines each. */
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AgentIntrospection,
  SourcePins,
  formatStatus,
  formatTunnels,
  interceptionPlan,
  localPrincipals,
  prepareMeshView,
  refusalReasons,
  traceContext,
  workloadRegistry,
} from '../../src/mesh/index.js';
import type { ConnectionFacts, MeshEvent } from '../../src/mesh/index.js';
import { answerRefusal } from '../../src/mesh/answer-refusal.js';
import { ConnectionLog } from '../../src/mesh/connection-log.js';
import { SpiffeId } from '../../src/spiffe/index.js';
import { FakeClock, TestCa } from '../../src/testing/index.js';
import { meshState, meshStateInput } from './fixtures.js';
import { recordingLogger } from './support.js';

const view = (node = 'node-a') => prepareMeshView(node)(meshState());

describe('traceContext', () => {
  const id = '4bf92f3577b34da6a3ce929d0e0e4736';

  it('continues a well-formed trace with a span of its own', () => {
    const { traceId, traceparent } = traceContext(`00-${id}-00f067aa0ba902b7-01`);
    expect(traceId).toBe(id);
    expect(traceparent).toMatch(new RegExp(`^00-${id}-[0-9a-f]{16}-01$`));
    expect(traceparent).not.toContain('00f067aa0ba902b7');
  });

  it('replaces whatever is not one', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.constantFrom(
            `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
            `01-${id}-00f067aa0ba902b7-01`,
            `00-${id.toUpperCase()}-00f067aa0ba902b7-01`,
            `00-${id}-00f067aa0ba902b7-01\n`,
          ),
        ),
        (text) => {
          const { traceId } = traceContext(text);
          expect(traceId).toMatch(/^[0-9a-f]{32}$/);
          expect([id, '0'.repeat(32)]).not.toContain(traceId);
        },
      ),
    );
  });
});

describe('workloadRegistry', () => {
  it('knows what runs where, in this trust domain alone', () => {
    const registry = workloadRegistry({ current: meshState() });
    const runs = (node: string, id: string): boolean => registry.runsOn(node, SpiffeId.parse(id));
    expect(runs('node-a', 'spiffe://cluster.local/ns/frontend/sa/web')).toBe(true);
    expect(runs('node-b', 'spiffe://cluster.local/ns/frontend/sa/web')).toBe(false);
    expect(runs('node-a', 'spiffe://cluster.local/ns/frontend/sa/api')).toBe(false);
    expect(runs('node-a', 'spiffe://other.org/ns/frontend/sa/web')).toBe(false);
    expect(runs('node-a', 'spiffe://cluster.local/agent/node-a')).toBe(false);
  });
});

describe('localPrincipals', () => {
  it('names each identity of the node once', () => {
    const input = meshStateInput();
    const twin = { ...input.workloads[0]!, name: 'web-2', addresses: ['10.244.1.77'] };
    const { index } = prepareMeshView('node-a')(meshState({ workloads: [...input.workloads, twin] }));
    expect(localPrincipals(index).map(String).sort()).toEqual([
      'spiffe://cluster.local/ns/frontend/sa/web',
      'spiffe://cluster.local/ns/production/sa/api',
    ]);
  });
});

describe('interceptionPlan', () => {
  it('captures services and enrolled pods of every node, protects local pods, opens only their probe ports', () => {
    const plan = interceptionPlan(view().index, new Map([['frontend/web', { name: 'veth-web', index: 7 }]]));
    expect(plan).toEqual({
      pods: [{ hostInterface: 'veth-web', addresses: ['10.244.1.5'] }],
      outbound: [{ ip: '10.96.0.10', port: 80 }, { ip: '10.244.1.6' }, { ip: 'fd00:1::6' }, { ip: '10.244.2.6' }],
      inbound: [{ ip: '10.244.1.6' }, { ip: 'fd00:1::6' }],
      host: {
        mode: 'probes',
        probes: [
          { ip: '10.244.1.6', port: 9000 },
          { ip: 'fd00:1::6', port: 9000 },
        ],
      },
    });
  });

  it('protects a destination whose interface is not known all the same', () => {
    const plan = interceptionPlan(view().index, new Map());
    expect(plan.pods).toEqual([]);
    expect(plan.inbound).toHaveLength(2);
  });
});

describe('refusalReasons', () => {
  it('have a status that refuses', () => {
    for (const [reason, { status }] of Object.entries(refusalReasons))
      expect(status, reason).toSatisfy((each: number) => each >= 400 && each <= 599);
  });
});

describe('ConnectionLog', () => {
  it('writes one line and one event for a refusal and for an end, without what is not known', () => {
    const { logger, lines } = recordingLogger();
    const events: MeshEvent[] = [];
    const clock = new FakeClock();
    const log = new ConnectionLog({ side: 'inbound', logger, clock, observer: (event) => void events.push(event) });
    const facts: ConnectionFacts = { id: '1', traceId: 't', destination: '10.0.0.1:80' };
    log.refused(facts, 'token-missing', { detail: 'no header\nforged line' });
    const ended = log.opened(facts);
    clock.advance(1_500);
    ended({ outcome: 'eof', sentBytes: 3 });
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'mesh connection refused',
        fields: {
          side: 'inbound',
          reason: 'token-missing',
          meaning: refusalReasons['token-missing'].meaning,
          detail: 'no header\nforged line',
          trace_id: 't',
          destination: '10.0.0.1:80',
        },
      },
      {
        level: 'info',
        message: 'mesh connection closed',
        fields: {
          side: 'inbound',
          outcome: 'eof',
          sent_bytes: 3,
          received_bytes: 0,
          duration_ms: 1500,
          trace_id: 't',
          destination: '10.0.0.1:80',
        },
      },
    ]);
    expect(events.map(({ type }) => type)).toEqual(['connection-refused', 'connection-opened', 'connection-closed']);
  });
});

/** A socket of which the test is the client. */
class FakeSocket extends Duplex {
  sent = '';
  wasReset = false;
  override _read(): void {
    // The test pushes.
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.sent += chunk.toString();
    done();
  }
  resetAndDestroy(): this {
    this.wasReset = true;
    return this.destroy();
  }
}

describe('answerRefusal', () => {
  const refuse = async (...chunks: (string | Buffer | null)[]): Promise<FakeSocket> => {
    const clock = new FakeClock();
    const socket = new FakeSocket({ allowHalfOpen: true });
    for (const chunk of chunks) socket.push(chunk);
    const answered = answerRefusal(socket, 403, { clock });
    for (let step = 0; step < 4; step += 1) await clock.advanceAsync(1_000);
    await answered;
    expect([socket.destroyed, clock.pendingTimers]).toEqual([true, 0]);
    return socket;
  };

  it.each([
    ['a request', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['pipelined requests', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(100)],
    ['a large body', `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n${'x'.repeat(9_999)}`],
    ['half a request', 'GET /x'],
  ])('answers %s once, with connection: close', async (_what, text) => {
    const { sent, wasReset } = await refuse(text, null);
    expect(sent.match(/HTTP\/1.1 403/g)).toHaveLength(1);
    expect(sent).toMatch(/connection: close/);
    expect(wasReset).toBe(false);
  });

  it.each([
    ['bytes that are no HTTP', [Buffer.from([0, 1, 2])]],
    ['TLS', [Buffer.from('16030100710100006d0303', 'hex')]],
    ['silence', []],
    ['an immediate end', [null]],
  ])('resets %s', async (_what, chunks) => {
    const { sent, wasReset } = await refuse(...chunks);
    expect({ sent, wasReset }).toEqual({ sent: '', wasReset: true });
  });

  it('gives a client that never reads or ends one second', async () => {
    const { sent } = await refuse('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(sent).toMatch(/403/);
  });
});

describe('status', () => {
  const clock = new FakeClock();
  const svid = TestCa.create({ clock }).svid('spiffe://cluster.local/agent/node-a');
  const given = view();
  const pins = new SourcePins();
  pins.replace(new Map([[given.index.localWorkloads[0]!, { name: 'veth-web', index: 7 }]]));
  const status = new AgentIntrospection({
    node: 'node-a',
    svid,
    views: { current: given, subscribe: () => ({ [Symbol.dispose]: () => undefined }) },
    pins,
    renewAt: () => undefined,
    controllerConnected: () => false,
    snapshot: () => undefined,
    interception: () => undefined,
    inbound: () => [],
    outbound: () => 3,
    sessions: () => [],
    clock,
  }).status();

  it('says what there is, what is not pinned, and no secret', () => {
    expect(status.workloads.map(({ workload, hostInterface }) => [workload, hostInterface])).toEqual([
      ['frontend/web', 'veth-web'],
      ['production/api-1', undefined],
    ]);
    expect(JSON.stringify(status)).not.toMatch(/PRIVATE|eyJ/);
    const text = formatStatus(status);
    expect(text).toMatch(/snapshot +none: everything is refused/);
    expect(text).toMatch(/production\/api-1 .*NOT PINNED/);
    expect(text).toMatch(/controller +disconnected/);
  });

  it('prints tunnels as a table, or that there are none', () => {
    expect(formatTunnels([])).toBe('No tunnel sessions.\n');
    const row = {
      side: 'client',
      peer: 'spiffe://cluster.local/agent/node-b',
      remoteAddress: { ip: 'fd00::1', port: 15002 },
      state: 'open',
      ageMs: 1500,
      streams: 1,
      streamsTotal: 2,
      sentBytes: 3,
      receivedBytes: 4,
      peerNotAfter: '2030-01-01T00:00:00.000Z',
    };
    expect(formatTunnels([row])).toMatch(
      /to +spiffe:\/\/cluster.local\/agent\/node-b +\[fd00::1\]:15002 +open +2 s +1 of 2 +3 \/ 4 +2030-01-01/,
    );
  });
});
