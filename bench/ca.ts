/** The CA beside bare signatures of node:crypto: certificates, requests, tokens, and what is accepted from a cache. */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { SpiffeCA, createCsr } from 'meshwright/ca';
import { X509Svid, verifyWorkloadToken, verifyX509Svid } from 'meshwright/spiffe';
import { compare } from './support.js';
import type { Contender } from './support.js';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const data = randomBytes(400);
const signature = sign('sha256', data, privateKey);
const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
const spiffeId = 'spiffe://cluster.local/agent/node-a';
const csr = await createCsr(privateKey);
const issued = await ca.issueX509Svid({ spiffeId, publicKey });
const { certificates, keyThumbprint } = X509Svid.fromPem({ chainPem: issued.chainPem, privateKey });
const tokens = ca.tokens({ registry: { runsOn: () => true } });
const request = { node: 'node-a', workload: 'spiffe://cluster.local/ns/shop/sa/web', confirmationKey: keyThumbprint };
const { token } = await tokens.issue(request);
const check = { audience: 'meshwright-tunnel', node: 'node-a', keyThumbprint };

/** `count` times, one after another. */
function repeated(name: string, count: number, once: () => unknown): Contender {
  const run = async (): Promise<{ units: number }> => {
    for (let done = 0; done < count; done += 1) {
      const result = once();
      if (result instanceof Promise) await result;
    }
    return { units: count };
  };
  return { name, run };
}

await compare({
  title: 'X.509-SVIDs issued, one thread',
  unit: 'certificate',
  contenders: [
    repeated('node:crypto sign, P-256', 5000, () => sign('sha256', data, privateKey)),
    repeated('issueX509Svid, public key', 3000, () => ca.issueX509Svid({ spiffeId, publicKey })),
  ],
});
await compare({
  title: 'X.509-SVIDs issued for a CSR, one thread',
  unit: 'certificate',
  contenders: [
    repeated('node:crypto verify and sign', 3000, () => {
      if (!verify('sha256', data, publicKey, signature)) throw new Error('bad signature');
      return sign('sha256', data, privateKey);
    }),
    repeated('issueX509Svid, CSR', 2000, () => ca.issueX509Svid({ spiffeId, csr })),
  ],
});
await compare({
  title: 'workload tokens issued',
  unit: 'token',
  contenders: [
    repeated('node:crypto sign, P-256', 5000, () => sign('sha256', data, privateKey)),
    repeated('issue', 2000, () => tokens.issue(request)),
  ],
});
await compare({
  title: 'verification',
  unit: 'verification',
  contenders: [
    repeated('node:crypto verify, P-256', 3000, () => verify('sha256', data, publicKey, signature)),
    repeated('verifyX509Svid', 1000, () =>
      verifyX509Svid({ certificates, bundle: ca.bundle.current, now: Date.now() }),
    ),
    repeated('verifyWorkloadToken', 1000, () =>
      verifyWorkloadToken(token, { ...check, bundle: ca.bundle.current, now: Date.now() }),
    ),
  ],
});

// Memory: what stays after many issues.
const heap = (): number => {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
};
const issueMany = async (count: number): Promise<void> => {
  for (let done = 0; done < count; done += 1) await ca.issueX509Svid({ spiffeId, publicKey });
};
if (process.argv.includes('--memory')) {
  await issueMany(50_000);
  const before = heap();
  await issueMany(950_000);
  process.stdout.write(`heap after 50,000 issues ${before.toFixed(1)} MiB, after 1,000,000 ${heap().toFixed(1)} MiB\n`);
}
await ca.close();
