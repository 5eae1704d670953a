/**
 * The CA beside bare signatures of node:crypto: certificates, requests, tokens, and what is accepted from a cache.
 *
 * `--soak [count]` issues a million certificates and tokens instead, and reports memory on the way.
 */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SpiffeCA, createCsr, fileAuditLog } from 'meshwright/ca';
import { EvidenceStore, PeerAuthenticator } from 'meshwright/mesh';
import { SpiffeId, X509Svid, verifyWorkloadToken, verifyX509Svid, workloadTokenHeader } from 'meshwright/spiffe';
import { compare } from './support.js';
import type { Contender } from './support.js';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const data = randomBytes(400);
const signature = sign('sha256', data, privateKey);
const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
const spiffeId = 'spiffe://cluster.local/agent/node-a';
const csr = await createCsr(privateKey);
const spki = publicKey.export({ format: 'der', type: 'spki' });
const issued = await ca.issueX509Svid({ spiffeId, publicKey });
const { certificates, keyThumbprint, notAfter, serialNumber } = X509Svid.fromPem({
  chainPem: issued.chainPem,
  privateKey,
});
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

if (process.argv.includes('--soak')) {
  await soak(Number(process.argv[process.argv.indexOf('--soak') + 1] ?? 1_000_000));
  await ca.close();
  process.exit();
}

await compare({
  title: 'X.509-SVIDs issued, one thread',
  unit: 'certificate',
  contenders: [
    repeated('node:crypto sign, P-256', 5000, () => sign('sha256', data, privateKey)),
    repeated('issueX509Svid, public key as DER', 5000, () => ca.issueX509Svid({ spiffeId, publicKey: spki })),
    repeated('issueX509Svid, public key as KeyObject', 5000, () => ca.issueX509Svid({ spiffeId, publicKey })),
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

// What a destination's agent does for each stream of a session: the peer was verified with the session, the token is known.
const evidence = new EvidenceStore();
const authenticator = new PeerAuthenticator({
  bundle: ca.bundle,
  evidence,
  knowsNode: () => true,
  acceptWorkloadSvids: true,
});
const remoteAddress = { ip: '192.0.2.1', port: 40_000 };
const agent = { spiffeId: SpiffeId.parse(spiffeId), keyThumbprint, notAfter, serialNumber, remoteAddress };
const workload = { ...agent, spiffeId: SpiffeId.parse(request.workload) };
const session = {};
const headers = { [workloadTokenHeader]: token };
const first = await authenticator.authenticate(agent, session, headers);
if ('refused' in first) throw new Error(first.detail);
await compare({
  title: 'accepted again, on a session that was verified',
  unit: 'stream',
  contenders: [
    repeated('an agent with a cached workload token', 200_000, () =>
      authenticator.authenticate(agent, session, headers),
    ),
    repeated('a peer by its certificate alone', 200_000, () => authenticator.authenticate(workload, session, {})),
  ],
});
await ca.close();

/** Memory after each tenth of `count` issues: certificates and tokens in turn, with audit log, each for another identity. */
async function soak(count: number): Promise<void> {
  if (!Number.isInteger(count) || count < 10) throw new Error('expected --soak to be followed by a number of issues');
  const directory = mkdtempSync(join(tmpdir(), 'meshwright-soak-'));
  const audited = await SpiffeCA.create({
    trustDomain: 'cluster.local',
    audit: await fileAuditLog({ file: join(directory, 'audit.jsonl') }),
  });
  const issuer = audited.tokens({ registry: { runsOn: () => true } });
  const once = (index: number): Promise<unknown> =>
    index % 2 === 0
      ? audited.issueX509Svid({ spiffeId: `spiffe://cluster.local/agent/node-${String(index)}`, publicKey: spki })
      : issuer.issue({ ...request, workload: `spiffe://cluster.local/ns/shop/sa/web-${String(index)}` });
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const report = (done: number): void => {
    collectGarbage();
    const { rss, heapUsed, external } = process.memoryUsage();
    const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1).padStart(7);
    process.stdout.write(
      `${String(done).padStart(9)} issued: heap ${mib(heapUsed)} MiB, external ${mib(external)} MiB, RSS ${mib(rss)} MiB\n`,
    );
  };
  try {
    report(0);
    // As many at once as a busy controller has, so that the audit log syncs once for all of them.
    const atOnce = 250;
    const step = Math.ceil(count / 10);
    let next = step;
    for (let done = 0; done < count;) {
      const batch = Math.min(atOnce, count - done);
      await Promise.all(Array.from({ length: batch }, (_, index) => once(done + index)));
      done += batch;
      if (done >= next || done === count) {
        report(done);
        next += step;
      }
    }
  } finally {
    await audited.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
