/** A root that OpenSSL made and signs with, and what comes of it: for OpenSSL, for TLS both ways, and for a mesh tunnel. */
import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { SpiffeCA, memoryStore } from 'meshwright/ca';
import {
  X509Svid,
  authorizeAgent,
  authorizeId,
  connectMtls,
  createMtlsServer,
  mtlsPeer,
  verifyX509Svid,
} from 'meshwright/spiffe';
import { Http2MtlsTunnel } from 'meshwright/tunnel';
import { freePort } from '../../support/free-port.js';
import { describeRequiring } from '../../support/requirements.js';
import { codeOf, testDirectory, until } from '../support.js';

const nodeA = 'spiffe://cluster.local/agent/node-a';
const nodeB = 'spiffe://cluster.local/agent/node-b';

interface Pki {
  readonly directory: string;
  at(name: string): string;
  openssl(...args: string[]): string;
}

/** A root of `key`, self-signed by openssl. */
function opensslRoot(key: readonly string[] = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']): Pki {
  const directory = testDirectory();
  const openssl = (...args: string[]): string =>
    execFileSync('openssl', args, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const files = ['-keyout', 'root.key', '-out', 'root.pem', '-days', '30'];
  const extensions = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ];
  // Without a configuration file's own extensions.
  writeFileSync(join(directory, 'req.cnf'), '[req]\ndistinguished_name=dn\n[dn]\n');
  openssl(
    'req',
    '-x509',
    '-config',
    'req.cnf',
    '-newkey',
    ...key,
    '-nodes',
    '-subj',
    '/O=Example/CN=Corporate Root',
    ...extensions,
    ...files,
  );
  return { directory, at: (name) => join(directory, name), openssl };
}

/** Signs what we ask for, as `openssl x509 -req` does. */
function signWithX509({ at, openssl }: Pki, csrPem: string): string {
  writeFileSync(at('ca.csr'), csrPem);
  openssl('req', '-in', 'ca.csr', '-verify', '-noout');
  openssl(
    'x509',
    '-req',
    '-in',
    'ca.csr',
    '-CA',
    'root.pem',
    '-CAkey',
    'root.key',
    '-CAcreateserial',
    '-copy_extensions',
    'copyall',
    '-days',
    '7',
    '-out',
    'ca.pem',
  );
  return readFileSync(at('ca.pem'), 'utf8');
}

/** The same by `openssl ca`, with extensions of its own and a policy that changes nothing. */
function signWithCa({ at, openssl }: Pki, csrPem: string): string {
  const config = `[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=root.pem\nprivate_key=root.key
default_md=sha256\ndefault_days=7\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied
[e]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n`;
  writeFileSync(at('ca.cnf'), config);
  writeFileSync(at('index'), '');
  writeFileSync(at('serial'), '1000\n');
  writeFileSync(at('ca.csr'), csrPem);
  openssl('ca', '-batch', '-config', 'ca.cnf', '-in', 'ca.csr', '-notext', '-out', 'ca.pem');
  return readFileSync(at('ca.pem'), 'utf8');
}

async function subordinate(pki: Pki, sign = signWithX509): Promise<SpiffeCA> {
  const store = memoryStore();
  const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain: 'cluster.local', store });
  const rootPem = readFileSync(pki.at('root.pem'), 'utf8');
  return SpiffeCA.installSubordinate({ store, chainPem: sign(pki, csrPem), rootPem });
}

async function svidOf(ca: SpiffeCA, spiffeId: string): Promise<X509Svid> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await ca.issueX509Svid({ spiffeId, publicKey });
  return X509Svid.fromPem({ chainPem, privateKey });
}

/** Leaf, its intermediates, chain and key as files. */
function writeSvid(
  { at }: Pki,
  svid: X509Svid,
): { readonly leaf: string; readonly chain: string; readonly key: string; readonly above: string } {
  writeFileSync(at('leaf.pem'), svid.certificatePem);
  writeFileSync(at('chain.pem'), svid.chainPem);
  writeFileSync(at('above.pem'), svid.chainPem.slice(svid.certificatePem.length));
  writeFileSync(at('key.pem'), svid.privateKeyPem, { mode: 0o600 });
  return { leaf: at('leaf.pem'), chain: at('chain.pem'), key: at('key.pem'), above: at('above.pem') };
}

function run(
  command: string,
  args: readonly string[],
): { readonly text: () => string; readonly write: (text: string) => void } {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  child.stdin.on('error', () => undefined);
  return { text: () => text, write: (line) => void child.stdin.write(line) };
}

describeRequiring({ commands: ['openssl'] }, 'a subordinate CA under a root of openssl', () => {
  const roots: readonly (readonly [string, readonly string[]])[] = [
    ['P-384', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['RSA', ['rsa:3072']],
    ['Ed25519', ['ed25519']],
  ];
  test.each(roots)('of %s issues leaves that openssl verifies, strictly', async (_, key) => {
    const pki = opensslRoot(key);
    await using ca = await subordinate(pki);
    const { leaf, above } = writeSvid(pki, await svidOf(ca, nodeA));
    const strict = ['-x509_strict', '-check_ss_sig', '-purpose', 'sslserver', '-CAfile', 'root.pem'];
    expect(pki.openssl('verify', ...strict, '-untrusted', above, leaf)).toContain('OK');
    // The root alone does not vouch for the leaf.
    expect(() => pki.openssl('verify', ...strict, leaf)).toThrow();
    const text = pki.openssl('x509', '-in', 'ca.pem', '-noout', '-text');
    expect(text).toContain('CA:TRUE, pathlen:0');
    expect(text).toContain('URI:spiffe://cluster.local');
  });

  test('takes what `openssl ca` signs, which drops what the request asks for and has key identifiers of its own', async () => {
    const pki = opensslRoot();
    await using ca = await subordinate(pki, signWithCa);
    const { leaf, above } = writeSvid(pki, await svidOf(ca, nodeA));
    expect(pki.openssl('verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', above, leaf)).toContain('OK');
    const keyIdOf = (file: string, name: string): string =>
      /(?:keyid:)?((?:[0-9A-F]{2}:){19}[0-9A-F]{2})/.exec(
        pki.openssl('x509', '-in', file, '-noout', '-ext', name),
      )?.[1] ?? name;
    expect(keyIdOf(leaf, 'authorityKeyIdentifier')).toBe(keyIdOf('ca.pem', 'subjectKeyIdentifier'));
  });

  test.each([
    ['permitted;URI:cluster.local', true],
    ['permitted;URI:other.local', false],
    ['permitted;DNS:cluster.local', false],
    ['excluded;URI:.local', false],
  ])('of a chain with name constraints, takes one that lets peers accept its leaves: %s', async (allowed, fits) => {
    const pki = opensslRoot();
    const constrained = (_: Pki, csrPem: string): string => {
      writeFileSync(pki.at('ca.csr'), csrPem);
      writeFileSync(
        pki.at('ext'),
        `basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nnameConstraints=critical,${allowed}\n`,
      );
      pki.openssl(
        'x509',
        '-req',
        '-in',
        'ca.csr',
        '-CA',
        'root.pem',
        '-CAkey',
        'root.key',
        '-CAcreateserial',
        '-extfile',
        'ext',
        '-days',
        '7',
        '-out',
        'ca.pem',
      );
      return readFileSync(pki.at('ca.pem'), 'utf8');
    };
    if (!fits) {
      expect(await codeOf(() => subordinate(pki, constrained))).toBe('CA_CHAIN_REFUSED');
      return;
    }
    await using ca = await subordinate(pki, constrained);
    const svid = await svidOf(ca, nodeA);
    const { certificates } = svid;
    expect(verifyX509Svid({ certificates, bundle: ca.bundle.current, now: Date.now() }).spiffeId.toString()).toBe(
      nodeA,
    );
    const { leaf, above } = writeSvid(pki, svid);
    expect(pki.openssl('verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', above, leaf)).toContain('OK');
  });

  test('s_client verifies our server by the root alone, and is verified by it', async () => {
    const pki = opensslRoot();
    await using ca = await subordinate(pki);
    const server = createMtlsServer(
      { svid: await svidOf(ca, nodeB), bundle: ca.bundle, authorizePeer: authorizeId(nodeA) },
      (socket) =>
        void socket.on('error', () => undefined).write(`hello ${mtlsPeer(socket)?.spiffeId.toString() ?? ''}\n`),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { chain, key } = writeSvid(pki, await svidOf(ca, nodeA));
    const { port } = server.address() as AddressInfo;
    const client = run('openssl', [
      ...['s_client', '-connect', `127.0.0.1:${String(port)}`, '-CAfile', pki.at('root.pem'), '-verify_return_error'],
      ...['-cert', chain, '-cert_chain', chain, '-key', key],
    ]);
    await until(() => client.text().includes(`hello ${nodeA}`));
    expect(client.text()).toContain('Verify return code: 0 (ok)');
  });

  test('our client verifies s_server, and is verified by the root alone', async () => {
    const pki = opensslRoot(['rsa:2048']);
    await using ca = await subordinate(pki);
    const { chain, key } = writeSvid(pki, await svidOf(ca, nodeB));
    const port = await freePort();
    const server = run('openssl', [
      ...['s_server', '-accept', `127.0.0.1:${String(port)}`, '-CAfile', pki.at('root.pem')],
      ...['-cert', chain, '-cert_chain', chain, '-key', key, '-Verify', '4', '-verify_return_error', '-tls1_3'],
    ]);
    await until(() => server.text().includes('ACCEPT'));
    const socket = await connectMtls(
      { svid: await svidOf(ca, nodeA), bundle: ca.bundle, authorizePeer: authorizeId(nodeB) },
      { host: '127.0.0.1', port },
    );
    onTestFinished(() => void socket.destroy());
    socket.write('from the mesh\n');
    await until(() => server.text().includes('from the mesh'));
    expect(server.text()).toMatch(/depth=2 O = Example, CN = Corporate Root\nverify return:1/);
    expect(server.text()).not.toContain('verify error');
  });

  test('two nodes speak through a mesh tunnel, before and after the next certificate', async () => {
    const pki = opensslRoot();
    await using ca = await subordinate(pki);
    const server = await Http2MtlsTunnel.listen({
      host: '127.0.0.1',
      port: 0,
      svid: await svidOf(ca, nodeB),
      bundle: ca.bundle,
      authorizePeer: authorizeAgent(),
      onConnect: (request) => {
        const stream = request.accept();
        stream.pipe(stream);
      },
    });
    onTestFinished(() => server.close());
    const say = async (svid: X509Svid, text: string): Promise<string> => {
      const client = Http2MtlsTunnel.client({ svid, bundle: ca.bundle });
      const { stream, peer } = await client.connect({ address: server.address, authority: '10.0.0.1:80', peer: nodeB });
      expect(peer.spiffeId.toString()).toBe(nodeB);
      stream.end(text);
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      await client.close();
      return Buffer.concat(chunks).toString('utf8');
    };
    expect(await say(await svidOf(ca, nodeA), 'first')).toBe('first');
    const { csrPem } = await ca.externalRoot.request({ keyType: 'P-384' });
    const chainPem = signWithX509(pki, csrPem);
    await ca.externalRoot.install({ chainPem, rootPem: readFileSync(pki.at('root.pem'), 'utf8') });
    await ca.rootRotation.activate({ force: true });
    expect(await say(await svidOf(ca, nodeA), 'second')).toBe('second');
  });
});
