/**
 * Kubernetes attestation against a real API server: the reference controller with its configuration, and joins as an
 * agent makes them. Not part of the tests, which build no kube-apiserver; docs/attestation.md says how to build one.
 *
 * MESHWRIGHT_KUBE_APISERVER=<binary> npx tsx --conditions=meshwright-source test/kube-apiserver/check.ts
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaClient, createCsr, kubernetesTokenAttestor, kubernetesTokenFile, rootPinFile } from 'meshwright/ca';
import { isMeshwrightError } from 'meshwright/core';
import { callAdmin, joinTransport } from 'meshwright/mesh';
import { TrustDomain, verifyX509Svid } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { freePort } from '../support/free-port.js';
import { startControllerProcess } from '../support/reference-controller.js';
import { KubeApiServer, audience, issuer, kubeletNode } from './kube-apiserver.js';
import type { TokenRequest } from './kube-apiserver.js';

const binary = process.env['MESHWRIGHT_KUBE_APISERVER'];
if (binary === undefined) throw new Error('set MESHWRIGHT_KUBE_APISERVER to a kube-apiserver binary');

const namespace = 'mesh-system';
const serviceAccount = 'meshwright-agent';
const trustDomain = TrustDomain.parse('cluster.local');
const directory = mkdtempSync(join(tmpdir(), 'mw-kube-check-'));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** Of the first pod on each node. */
const podUids = new Map<string, string>();

/** A cluster with agents' pods on node-a to node-c, and a node of its own that the mesh does not know. */
async function startCluster(path: string): Promise<KubeApiServer> {
  const cluster = await KubeApiServer.start(path, { signing: rsa, verifying: [rsa] });
  await cluster.admin('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
  for (const name of [serviceAccount, 'meshwright-controller', 'other']) {
    await cluster.admin('POST', `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
  }
  for (const name of ['node-a', 'node-b', 'node-c', 'stranger']) {
    await cluster.admin('POST', '/api/v1/nodes', { metadata: { name } });
    podUids.set(name, await cluster.createPod(namespace, `agent-${name}`, name, serviceAccount));
  }
  await cluster.createPod(namespace, 'agent-nowhere', 'no-such-node', serviceAccount);
  await cluster.createPod(namespace, 'other', 'node-a', 'other');
  await cluster.admin('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name: 'meshwright-controller' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
    subjects: [{ kind: 'ServiceAccount', namespace, name: 'meshwright-controller' }],
  });
  return cluster;
}

const refusals: string[] = [];
await using cluster = await startCluster(binary);
const { body: version } = await cluster.request('GET', '/version');
const { gitVersion } = version as { readonly gitVersion: string };
say(`kube-apiserver ${gitVersion}`);
const isBefore = (minor: number): boolean => Number(/^v1\.(\d+)\./.exec(gitVersion)?.[1]) < minor;

const token = (node: string, changes: Partial<TokenRequest> = {}): Promise<string> =>
  cluster.token(namespace, { serviceAccount, audience, boundTo: { kind: 'Pod', name: `agent-${node}` }, ...changes });

const caFile = join(directory, 'ca.crt');
const tokenFile = join(directory, 'controller-token');
writeFileSync(caFile, cluster.ca);
writeFileSync(tokenFile, await cluster.token(namespace, { serviceAccount: 'meshwright-controller', seconds: 3600 }));
const controller = await startControllerProcess({
  directory,
  port: await freePort(),
  manifests: ['node-a', 'node-b', 'node-c'].map((name, index) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { addresses: [{ type: 'InternalIP', address: `192.0.2.${String(index + 1)}` }] },
  })),
  settings: {
    kubernetesJoin: {
      issuer,
      serviceAccount: { namespace, name: serviceAccount },
      server: { url: cluster.url, caFile, tokenFile },
    },
  },
});
const pinFile = join(directory, 'pins');
const { rootPin } = (await callAdmin(controller.admin, 'join-token', { node: 'node-a' })) as {
  readonly rootPin: string;
};
writeFileSync(pinFile, `${rootPin}\n`);

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** As the reference agent joins. The SPIFFE ID that it got, or the code of the refusal. */
async function joins(value: string, privateKey = newKey()): Promise<string> {
  const file = join(directory, 'agent-token');
  writeFileSync(file, value);
  const transport = joinTransport({ address: controller.address, rootPin: await rootPinFile(pinFile)(), trustDomain });
  try {
    const client = new CaClient({ transport, trustDomain });
    const evidence = await kubernetesTokenFile(file)();
    const grant = await client.attest({ evidence, csr: await createCsr(privateKey) });
    return verifyX509Svid({ ...grant, now: Date.now() }).spiffeId.toString();
  } catch (error) {
    if (isMeshwrightError(error)) return error.code;
    throw error;
  } finally {
    await transport.close();
  }
}

async function expectJoin(what: string, value: string, expected: string, privateKey?: KeyObject): Promise<void> {
  const got = await joins(value, privateKey);
  say(`${got === expected ? 'ok  ' : 'NOT '} ${what}: ${got}`);
  if (got !== expected) refusals.push(`${what}: expected ${expected}, got ${got}`);
}

const agent = (node: string): string => `spiffe://cluster.local/agent/${node}`;
const seconds = (count: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, count * 1000));

try {
  const keys = await cluster.request('GET', '/openid/v1/jwks');
  assert.equal(keys.type, 'application/jwk-set+json');
  const asJson = await cluster.request('GET', '/openid/v1/jwks', undefined, { accept: 'application/json' });
  assert.equal(asJson.status, 406);

  const [first, key] = [await token('node-a'), newKey()];
  await expectJoin('a pod’s token', first, agent('node-a'), key);
  await expectJoin('the same token for the same key', first, agent('node-a'), key);
  await expectJoin('the same token for another key', first, 'CA_KUBERNETES_TOKEN_USED');
  await expectJoin('one for another audience', await token('node-a', { audience: issuer }), code('AUDIENCE'));
  const everybody = await cluster.token(namespace, { serviceAccount });
  await expectJoin('one for the API server, of no pod', everybody, code('AUDIENCE'));
  await expectJoin('one of no pod', await cluster.token(namespace, { serviceAccount, audience }), code('NOT_BOUND'));
  if (!isBefore(31)) {
    const ofNode = await token('node-a', { boundTo: { kind: 'Node', name: 'node-a' } });
    await expectJoin('one of a node and no pod', ofNode, code('NOT_BOUND'));
  }
  await expectJoin('one of a pod whose Node is not there', await token('nowhere'), code('NOT_BOUND'));
  const other = { serviceAccount: 'other', boundTo: { kind: 'Pod', name: 'other' } } as const;
  await expectJoin('one of another service account', await token('node-a', other), code('SUBJECT'));
  await expectJoin('one that lives too long', await token('node-a', { seconds: 3601 }), code('LIFETIME'));
  await expectJoin('one of a node that the mesh does not know', await token('stranger'), 'CA_NODE_UNKNOWN');

  // What docs/threat-model.md says of kubelets: the token of the pod on its own node, and no other.
  const asked = { serviceAccount, audience };
  const podOn = (node: string) => ({ kind: 'Pod', name: `agent-${node}`, uid: podUids.get(node) ?? '' }) as const;
  for (const [request, expected] of [
    [{ ...asked, boundTo: podOn(kubeletNode) }, '"token"'],
    [{ ...asked, boundTo: podOn('node-a') }, 'node requested token bound to a pod scheduled on a different node'],
    [{ ...asked, boundTo: { kind: 'Node', name: kubeletNode } }, 'node requested token not bound to a pod'],
    [asked, 'node requested token not bound to a pod'],
    [{ ...asked, audience: 'another', boundTo: podOn(kubeletNode) }, 'audience "another" not found in pod spec volume'],
  ] as const) {
    if (request.audience === 'another' && isBefore(33)) continue;
    const { body } = await cluster.tokenForKubelet(namespace, request);
    assert(JSON.stringify(body).replaceAll('\\', '').includes(expected), JSON.stringify(body));
  }
  say(`ok   the kubelet of ${kubeletNode} gets tokens of the pods on ${kubeletNode}, and no others`);

  const local = { issuer, audience, serviceAccount: { namespace, name: serviceAccount }, jwks: keys.body as object };
  const ended = await token('node-a');
  const clock = new FakeClock({ start: Date.now() + 601_000 });
  const { signal } = new AbortController();
  await assert.rejects(kubernetesTokenAttestor({ ...local, clock }).attest(ended, { signal }), /it ended at/);

  const [gone, again] = [await token('node-b'), await token('node-b')];
  await cluster.deletePod(namespace, 'agent-node-b');
  await expectJoin('one of a pod that is gone', gone, 'CA_KUBERNETES_REVIEW_REFUSED');
  await cluster.createPod(namespace, 'agent-node-b', 'node-b', serviceAccount);
  await expectJoin('one of a pod that was made anew', again, 'CA_KUBERNETES_REVIEW_REFUSED');
  await expectJoin('one of the new pod', await token('node-b'), agent('node-b'));
  const removed = await token('node-c');
  await cluster.admin('DELETE', '/api/v1/nodes/node-c');
  await expectJoin('one of a Node that is gone since, which API servers do not look for', removed, agent('node-c'));

  const [before, during] = [await token('node-a'), await token('node-a')];
  await cluster.stop();
  await expectJoin('with the API server down', before, 'CA_ATTESTATION_UNAVAILABLE');
  await seconds(10);
  // The old key once more, as where the signing key's file is given beside those of the public keys.
  await cluster.start({ signing: ec, verifying: [rsa, ec, rsa] });
  await expectJoin('the same token when it is back, with another signing key', before, agent('node-a'));
  await expectJoin('one of the new key', await token('node-a'), agent('node-a'));
  await cluster.stop();
  await cluster.start({ signing: ec, verifying: [ec] });
  await expectJoin('while the controller’s own token is of the old key', during, 'CA_ATTESTATION_UNAVAILABLE');
  writeFileSync(tokenFile, await cluster.token(namespace, { serviceAccount: 'meshwright-controller', seconds: 3600 }));
  await expectJoin('one of the old key, which was taken out', during, 'CA_KUBERNETES_REVIEW_REFUSED');
  writeFileSync(tokenFile, '');
  await expectJoin('where we may not ask', await token('node-a'), 'CA_ATTESTATION_UNAVAILABLE');
  assert.deepEqual(refusals, []);
} finally {
  await controller.stop();
  if (refusals.length > 0 || process.env['VERBOSE'] !== undefined) say(controller.log());
  rmSync(directory, { recursive: true, force: true });
}

function code(name: string): string {
  return `CA_KUBERNETES_TOKEN_${name}`;
}
