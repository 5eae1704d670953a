// Uses something of every module as a stranger would; the last line printed is "ok".
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { AuthzEngine } from 'meshwright/authz';
import type { AuthzRequest, Decision } from 'meshwright/authz';
import { SpiffeCA, memoryStore } from 'meshwright/ca';
import { Cidr, isMeshwrightError, parseSocketAddress } from 'meshwright/core';
import type { Clock, Closable, LatestValue } from 'meshwright/core';
import { EtcdLeaseStore } from 'meshwright/etcd';
import { parseManifests, toMeshState } from 'meshwright/kubernetes';
import { parseMeshState } from 'meshwright/mesh';
import type { MeshState } from 'meshwright/mesh';
import { SnapshotStore } from 'meshwright/snapshot';
import { SpiffeId, TrustDomain, X509Svid, spiffeGlob, workloadId } from 'meshwright/spiffe';
import * as telemetry from 'meshwright/telemetry';
import { FakeClock, TestCa } from 'meshwright/testing';
import { TproxyListener } from 'meshwright/tproxy';
import { detectProtocol } from 'meshwright/traffic';
import { Http2MtlsTunnel, TunnelRefused } from 'meshwright/tunnel';
import { BfdService, VipManager, validateVipAssignments } from 'meshwright/vip';
import type { BfdStatus, VipAssignment } from 'meshwright/vip';

export interface Uses {
  readonly clock: Clock;
  readonly closable: Closable;
  readonly bundle: LatestValue<string>;
  readonly state: MeshState;
  readonly bfd: BfdStatus;
}

assert.equal(Cidr.parse('10.96.0.0/12').contains('10.97.1.2'), true);
assert.equal(parseSocketAddress('[fd00::1]:15002').port, 15_002);
assert.throws(
  () => Cidr.parse('10.96.0.0/33'),
  (error) => isMeshwrightError(error, 'CORE_ADDRESS_MALFORMED'),
);

const web = workloadId(TrustDomain.parse('cluster.local'), 'shop', 'web');
assert.equal(String(web), 'spiffe://cluster.local/ns/shop/sa/web');
assert.equal(spiffeGlob('spiffe://*/ns/shop/sa/w*')(web), true);

const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', store: memoryStore() });
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { chainPem } = await ca.issueX509Svid({ spiffeId: SpiffeId.parse(String(web)), publicKey });
const svid = X509Svid.fromPem({ chainPem, privateKey });
assert.equal(svid.spiffeId.equals(web), true);
assert.equal(ca.bundle.current.x509AuthoritiesPem.length, 1);

const request: AuthzRequest = {
  source: { principal: String(web) },
  destination: { namespace: 'shop', services: ['api'], port: 80 },
};
const decision: Decision = AuthzEngine.compile([], { defaultAction: 'deny' }).authorize(request);
assert.equal(decision.allowed, false);

const store = new SnapshotStore<{ readonly name: string }, string>({ prepare: ({ name }) => name.toUpperCase() });
await store.swap({ name: 'first' });

for (const value of [parseManifests, toMeshState, parseMeshState, detectProtocol, TunnelRefused, TestCa]) {
  assert.equal(typeof value, 'function');
}
assert.equal(typeof TproxyListener.listen, 'function');
assert.equal(typeof Http2MtlsTunnel.client, 'function');
for (const value of [VipManager.create, BfdService.create]) assert.equal(typeof value, 'function');
const vip: VipAssignment = { name: 'shop/web', addresses: ['2001:DB8::10'], mode: 'bgp' };
assert.deepEqual(validateVipAssignments([vip])[0]?.addresses, ['2001:db8::10']);
assert.throws(
  () => new EtcdLeaseStore({ endpoints: [] }),
  (error) => isMeshwrightError(error, 'ETCD_CONFIGURATION_INVALID'),
);
assert.ok(new FakeClock().now() > 0);
assert.ok(Object.keys(telemetry).length > 0);

console.log('ok');
