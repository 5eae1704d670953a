import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { CaClient, SpiffeCA, createCsr, memoryStore, rootPinOf } from 'meshwright/ca';
import { joinTransport } from 'meshwright/mesh';
import { X509Svid, verifyX509Svid } from 'meshwright/spiffe';
import { externalRoot } from '../../ca/subordinate/external-ca.js';
import { p256 } from '../../ca/support.js';
import { writePem } from '../../../src/internal/der/pem.js';
import { controlPlane } from './support.js';

it('an agent joins by the pin of the external root, renews, and follows its successor', async () => {
  const root = externalRoot(Date.now());
  const upper = root.intermediate('corporate issuing');
  const store = memoryStore();
  const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain: 'cluster.local', store });
  const chain = { chainPem: upper.sign(csrPem) + upper.pem, rootPem: root.pem };
  const ca = await SpiffeCA.installSubordinate({ store, ...chain });
  const plane = await controlPlane({ ca });
  const { trustDomain } = ca;
  const { token, rootPin } = await plane.joinTokens.create({ node: 'node-a' });
  expect(rootPin).toBe(rootPinOf(new X509Certificate(root.pem).publicKey));

  const { privateKey } = p256();
  const csr = await createCsr(privateKey);
  const joining = joinTransport({ address: plane.address, rootPin, trustDomain });
  const grant = await new CaClient({ transport: joining, trustDomain }).join({ token, csr });
  await joining.close();
  expect(grant.certificates).toHaveLength(3);
  const chainPem = grant.certificates.map((der) => writePem(der, 'CERTIFICATE')).join('');
  const svid = X509Svid.fromPem({ chainPem, privateKey });
  const client = plane.client(plane.transport(svid));
  const bundles = client.watchBundle();
  expect((await bundles.next()).value?.x509AuthoritiesPem).toEqual([root.pem]);

  const next = externalRoot(Date.now(), {}, 'P-384', 'next root');
  const { csrPem: request } = await ca.externalRoot.request();
  await ca.externalRoot.install({ chainPem: next.sign(request), rootPem: next.pem });
  let latest: readonly string[] = [];
  while (latest.length < 2) latest = (await bundles.next()).value?.x509AuthoritiesPem ?? [];
  expect(latest).toEqual([root.pem, next.pem]);
  await ca.rootRotation.activate({ force: true });
  const renewed = await client.renew({ csr });
  expect(verifyX509Svid({ ...renewed, now: Date.now() }).spiffeId.toString()).toBe(
    'spiffe://cluster.local/agent/node-a',
  );
  expect(renewed.certificates).toHaveLength(2);
  await bundles.return?.();
});
