import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import { expect, it, onTestFinished } from 'vitest';
import {
  CaClient,
  SvidRenewer,
  createCsr,
  kubernetesTokenAttestor,
  kubernetesTokenFile,
  rootPinFile,
} from 'meshwright/ca';
import type { SvidRequest } from 'meshwright/ca';
import { joinTransport } from 'meshwright/mesh';
import { SpiffeId, TrustDomain, verifyX509Svid } from 'meshwright/spiffe';
import { CaService } from '../../../src/ca/gen/ca_pb.js';
import { claimsOf, fakeCluster, mint, policy } from '../../ca/attestation/fake-cluster.js';
import type { FakeCluster } from '../../ca/attestation/fake-cluster.js';
import { codeOf, p256, recordingLogger, testDirectory } from '../../ca/support.js';
import { controlPlane } from './support.js';

const trustDomain = TrustDomain.parse('cluster.local');
const spiffeId = SpiffeId.parse('spiffe://cluster.local/agent/node-a');

const serverOf = ({ url, ca, bearerToken }: FakeCluster) => ({ url, ca, bearerToken });

/** A token of node-a's agent as the kubelet would fetch it now. */
function freshToken({ keys }: FakeCluster): string {
  const [key] = keys;
  if (key === undefined) throw new Error('the cluster has no key');
  return mint(key, claimsOf('node-a', Date.now()));
}

it(
  'an agent joins by its token, and anew by the next one when its certificate has ended',
  { timeout: 30_000 },
  async () => {
    const cluster = await fakeCluster();
    const attestor = kubernetesTokenAttestor({ ...policy, server: serverOf(cluster) });
    const plane = await controlPlane({ svidTtlMs: 2000, attestors: [attestor] });
    const directory = testDirectory();
    const tokenFile = join(directory, 'token');
    const pinFile = join(directory, 'pins');
    await writeFile(tokenFile, freshToken(cluster));
    await writeFile(pinFile, `# the root\n\nsha256:${'0'.repeat(64)}\n${plane.ca.rootPin}\n`);
    const evidence = kubernetesTokenFile(tokenFile);
    const attest: SvidRequest = async (csr, options) => {
      const transport = joinTransport({ address: plane.address, rootPin: await rootPinFile(pinFile)(), trustDomain });
      try {
        return await new CaClient({ transport, trustDomain }).attest({ evidence: await evidence(), csr }, options);
      } finally {
        await transport.close();
      }
    };
    const { logger, lines } = recordingLogger();
    // Nobody answers a renewal: the certificate ends.
    const renewer = await SvidRenewer.start({
      spiffeId,
      attest,
      renew: () => () => Promise.reject(new Error('the controller is away')),
      logger,
    });
    onTestFinished(() => renewer.close());
    const first = renewer.svid.current;
    expect(
      verifyX509Svid({
        certificates: first.certificates,
        bundle: plane.ca.bundle.current,
        now: Date.now(),
      }).spiffeId.toString(),
    ).toBe(spiffeId.toString());

    // The old token is still in the file: used. Then the kubelet replaces it.
    const refused = (): boolean => lines.some(({ fields }) => fields['code'] === 'CA_KUBERNETES_TOKEN_USED');
    while (!refused()) await new Promise((resolve) => setTimeout(resolve, 20));
    await writeFile(`${tokenFile}.new`, freshToken(cluster));
    await rename(`${tokenFile}.new`, tokenFile);
    while (renewer.svid.current === first) await new Promise((resolve) => setTimeout(resolve, 20));
    const second = renewer.svid.current;
    verifyX509Svid({ certificates: second.certificates, bundle: plane.ca.bundle.current, now: Date.now() });
    expect(second.keyThumbprint).not.toBe(first.keyThumbprint);
    expect(cluster.requests.filter(({ path }) => path.endsWith('/tokenreviews'))).toHaveLength(2);
    const secrets = (await readFile(tokenFile, 'utf8')).split('.');
    for (const part of secrets) expect(JSON.stringify([lines, plane.lines])).not.toContain(part);
  },
);

it('nothing is sent to a controller whose root is not pinned', async () => {
  const cluster = await fakeCluster();
  const attestor = kubernetesTokenAttestor({ ...policy, server: serverOf(cluster) });
  const plane = await controlPlane({ attestors: [attestor] });
  const csr = await createCsr(p256().privateKey);
  const evidence = { type: 'kubernetes-token', value: freshToken(cluster) };
  for (const rootPin of [`sha256:${'0'.repeat(64)}`, []]) {
    const transport = joinTransport({ address: plane.address, rootPin, trustDomain });
    onTestFinished(() => transport.destroy());
    expect(await codeOf(() => new CaClient({ transport, trustDomain }).attest({ evidence, csr }))).toBe(
      'CA_UNAVAILABLE',
    );
  }
  expect(cluster.requests).toEqual([]);
  expect(plane.lines.filter(({ message }) => message !== 'control-plane connection refused')).toEqual([]);
});

it('a request with a join token and other evidence is refused, and neither is used up', async () => {
  const cluster = await fakeCluster();
  const attestor = kubernetesTokenAttestor({ ...policy, server: serverOf(cluster) });
  const plane = await controlPlane({ attestors: [attestor] });
  const { token: joinToken, rootPin } = await plane.joinTokens.create({ node: 'node-b' });
  const transport = joinTransport({ address: plane.address, rootPin, trustDomain });
  onTestFinished(() => transport.destroy());
  const csr = await createCsr(p256().privateKey);
  const evidence = { type: 'kubernetes-token', value: freshToken(cluster) };
  const both = createClient(CaService, transport).join({ joinToken, evidence, csr });
  await expect(both).rejects.toThrow('got both');
  const client = new CaClient({ transport, trustDomain });
  await client.join({ token: joinToken, csr });
  await client.attest({ evidence, csr });
  const asEvidence = await plane.joinTokens.create({ node: 'node-c' });
  await client.attest({ evidence: { type: 'join-token', value: asEvidence.token }, csr });
});

it('files that hold nothing to join with say so, without what they hold', async () => {
  const directory = testDirectory();
  const at = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text);
    return join(directory, name);
  };
  expect(await codeOf(kubernetesTokenFile(join(directory, 'none')))).toBe('CA_NOT_ATTESTED');
  expect(await codeOf(kubernetesTokenFile(directory))).toBe('CA_NOT_ATTESTED');
  expect(await codeOf(kubernetesTokenFile(await at('empty', ' \n')))).toBe('CA_NOT_ATTESTED');
  expect(await codeOf(kubernetesTokenFile(await at('large', 'x'.repeat(20_000))))).toBe('CA_NOT_ATTESTED');
  expect(await codeOf(rootPinFile(join(directory, 'none')))).toBe('CA_NOT_ATTESTED');
  expect(await codeOf(rootPinFile(await at('comment', '# none\n')))).toBe('CA_REQUEST_INVALID');
  expect(await codeOf(rootPinFile(await at('wrong', `sha256:${'A'.repeat(64)}\n`)))).toBe('CA_REQUEST_INVALID');
});
