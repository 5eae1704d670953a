import { fork } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SpiffeCA, localSigner, memoryStore } from 'meshwright/ca';
import type { CaKeyType, Signer } from 'meshwright/ca';
import { X509Svid, verifyX509Svid } from 'meshwright/spiffe';
import { agent, codeOf, openssl, p256, testDirectory } from './support.js';

/** A program that holds the key: base64 of what to sign in, base64 of the signature out, one per line. */
const program = `
const { createServer } = require('node:net'), { generateKeyPairSync, sign } = require('node:crypto');
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
createServer((socket) => {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
    if (!text.endsWith('\\n')) return;
    socket.end(sign('sha384', Buffer.from(text, 'base64'), privateKey).toString('base64'));
  });
}).listen(process.argv[2], () => process.send(publicKey.export({ format: 'pem', type: 'spki' })));
process.on('disconnect', () => process.exit());
`;

async function remoteSigner(): Promise<{ readonly signer: Signer; stop(): void }> {
  const directory = testDirectory();
  const path = join(directory, 'signer.sock');
  writeFileSync(join(directory, 'signer.cjs'), program);
  const child = fork(join(directory, 'signer.cjs'), [path], { execArgv: [] });
  onTestFinished(() => void child.kill());
  const [pem] = (await once(child, 'message')) as [string];
  const sign = async (data: Uint8Array): Promise<Uint8Array> => {
    const socket = createConnection(path);
    socket.write(`${Buffer.from(data).toString('base64')}\n`);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return Buffer.from(text, 'base64');
  };
  return {
    signer: { algorithm: 'ecdsa-with-SHA384', publicKey: createPublicKey(pem), sign },
    stop: () => void child.kill(),
  };
}

async function requireWorking(ca: SpiffeCA): Promise<void> {
  const { publicKey, privateKey } = p256();
  const { chainPem, certificatePem } = await ca.issueX509Svid({ spiffeId: agent, publicKey });
  const { certificates } = X509Svid.fromPem({ chainPem, privateKey });
  verifyX509Svid({ certificates, bundle: ca.bundle.current, now: Date.now() });
  const files = { leaf: certificatePem, root: ca.bundle.current.x509AuthoritiesPem.join('') };
  expect(openssl(files, 'verify', '-x509_strict', '-CAfile', '{root}', '{leaf}')).toContain('OK');
}

it.each(['P-256', 'P-384', 'Ed25519'] as const)(
  'a root with a %s key signs what openssl accepts',
  async (keyType: CaKeyType) => {
    const store = memoryStore();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', keyType, store });
    await requireWorking(ca);
    await ca.close();
    await requireWorking(await SpiffeCA.open({ store }));
  },
);

describe('an external signer', () => {
  it('in another process, over a Unix socket, signs root and leaves; the store has no key of it', async () => {
    const { signer } = await remoteSigner();
    const store = memoryStore();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', store, signer, signers: [signer] });
    await requireWorking(ca);
    const state = Buffer.from((await store.read('authority')) ?? []).toString('utf8');
    expect(JSON.parse(state)).not.toHaveProperty('roots.0.privateKeyPem');
    await ca.close();
    expect(await codeOf(() => SpiffeCA.open({ store }))).toBe('CA_SIGNER_MISSING');
    await requireWorking(await SpiffeCA.open({ store, signers: [signer] }));
  });

  it('takes over by a rotation', async () => {
    const { signer } = await remoteSigner();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', signers: [signer] });
    await ca.rootRotation.prepare({ signer });
    await ca.rootRotation.activate();
    await requireWorking(ca);
  });

  it('that is gone, or returns what does not verify, issues nothing', async () => {
    const { signer, stop } = await remoteSigner();
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', signer, signers: [signer] });
    stop();
    expect(await codeOf(() => requireWorking(ca))).toBe('CA_SIGNER_FAILED');
    const wrong: Signer = { ...localSigner(p256().privateKey), publicKey: p256().publicKey };
    const make = (): Promise<SpiffeCA> =>
      SpiffeCA.create({ trustDomain: 'cluster.local', signer: wrong, signers: [wrong] });
    expect(await codeOf(make)).toBe('CA_SIGNER_FAILED');
  });
});
