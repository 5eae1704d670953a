import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LiveConnection } from '../../../src/mesh/inbound/live-connection.js';
import type { Admitted, ConnectionRevoked } from '../../../src/mesh/inbound/live-connection.js';
import { admit, prepareMeshView } from '../../../src/mesh/index.js';
import type { MeshStateInput, MeshView } from '../../../src/mesh/index.js';
import { SpiffeId } from '../../../src/spiffe/index.js';
import { meshState, meshStateInput } from '../fixtures.js';
import { policy } from '../support.js';

const view = (changes: Partial<MeshStateInput> = {}): MeshView => prepareMeshView('node-a')(meshState(changes));
const rules = (...given: object[]): MeshView => view({ policies: [{ manifest: policy('p', 'api', 'ALLOW', given) }] });
const byIdentity = rules({ from: [{ namespaces: ['frontend'] }] });
const byMethod = (method: string): MeshView =>
  rules({ from: [{ namespaces: ['frontend'] }], to: [{ methods: [method] }] });
const nobody = rules({ from: [{ namespaces: ['nobody'] }] });
const noPod = view({ workloads: [], services: [] });
const otherPod = view({
  workloads: meshStateInput().workloads.map((each) => (each.name === 'api-1' ? { ...each, name: 'new' } : each)),
});

const open = (given: MeshView): LiveConnection => {
  const source = {
    principal: SpiffeId.parse('spiffe://cluster.local/ns/frontend/sa/web'),
    node: 'node-b',
    via: 'token',
  } as const;
  const destination = { ip: '10.244.1.6', port: 8080 };
  const ownPorts = new Set<number>();
  const admission = admit(given, source, destination, ownPorts) as Admitted;
  const facts = { id: 'x', traceId: 'x', destination: '10.244.1.6:8080' };
  return new LiveConnection({ source, destination, facts, admission, ownPorts });
};
const why = (connection: LiveConnection): unknown =>
  connection.signal.aborted ? (connection.signal.reason as ConnectionRevoked).reason : undefined;
const request = { method: 'GET', path: '/', headers: {}, rawTarget: '/' };

describe('LiveConnection', () => {
  it.each([
    ['no longer allows it', nobody, 'policy-changed'],
    ['has no such pod', noPod, 'destination-gone'],
    ['has another pod at the address', otherPod, 'destination-gone'],
    [
      'does not know the node any more',
      view({ nodes: [{ name: 'node-a', addresses: ['172.30.0.11'] }] }),
      'peer-node-unknown',
    ],
  ])('is revoked by a view that %s, in every mode', (_what, next, reason) => {
    for (const mode of [undefined, 'opaque', 'http'] as const) {
      const connection = open(byIdentity);
      if (mode !== undefined) connection.open(mode);
      connection.reconsider(byIdentity);
      expect(why(connection)).toBeUndefined();
      connection.reconsider(next);
      expect(why(connection)).toBe(reason);
    }
  });

  it('in opaque mode is revoked once only HTTP could be allowed', () => {
    const connection = open(byIdentity);
    connection.open('opaque');
    connection.reconsider(byMethod('GET'));
    expect(why(connection)).toBe('policy-changed');
  });

  it('before its first byte only learns that requests have to be judged', () => {
    const connection = open(byIdentity);
    connection.reconsider(byMethod('GET'));
    expect([why(connection), connection.admission.verdict]).toEqual([undefined, 'needs-http']);
  });

  it('in HTTP mode is revoked for a request under way, not for one that ended', () => {
    const connection = open(byMethod('GET'));
    connection.open('http');
    expect(connection.judge(byMethod('GET'), request).allowed).toBe(true);
    connection.reconsider(rules({ from: [{ namespaces: ['frontend'] }], to: [{ methods: ['GET', 'PUT'] }] }));
    expect(why(connection)).toBeUndefined();
    connection.requestEnded(request);
    connection.reconsider(byMethod('PUT'));
    expect(why(connection)).toBeUndefined();
    expect(connection.judge(byMethod('PUT'), request).allowed).toBe(false);
    const second = open(byMethod('GET'));
    second.open('http');
    second.judge(byMethod('GET'), request);
    second.reconsider(byMethod('PUT'));
    expect(why(second)).toBe('policy-changed');
  });

  it('never lives under a view that refuses it, whatever came before (any history)', () => {
    const views = [byIdentity, byMethod('GET'), byMethod('PUT'), nobody, noPod, otherPod, view()] as const;
    const index = fc.integer({ min: 0, max: views.length - 1 });
    fc.assert(
      fc.property(fc.constantFrom('opaque', 'http'), fc.array(index, { maxLength: 12 }), (mode, history) => {
        const connection = open(byIdentity);
        connection.open(mode);
        let revoked = false;
        for (const next of history) {
          const current = views[next];
          if (current === undefined) return;
          connection.reconsider(current);
          const admission = admit(current, connection.source, connection.destination, new Set());
          const fits =
            admission.admitted &&
            admission.workload.name === 'api-1' &&
            (mode === 'http' || admission.verdict === 'allow' || connection.judgeOpaque(current).allowed);
          revoked ||= !fits;
          expect(connection.signal.aborted).toBe(revoked);
          // A revoked one is over; its admission stays that of its last good view.
          if (revoked) return;
        }
      }),
    );
  });

  it('is not revoked after its end', () => {
    const connection = open(byIdentity);
    connection.closed();
    connection.reconsider(nobody);
    connection.revoke('evidence-expired', 'late');
    expect(connection.signal.aborted).toBe(false);
  });
});
