import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SpiffeCA, caErrorCodes, createCsr, keyTypeName, memoryStore, rootPinOf } from 'meshwright/ca';
import type { CaEvent } from 'meshwright/ca';
import { SpiffeId, TrustDomain, X509Svid, controllerId, verifyX509Svid } from 'meshwright/spiffe';
import { FakeClock } from 'meshwright/testing';
import { agent, codeOf, openssl, p256, workload } from './support.js';

const start = Date.UTC(2030, 0, 1);

async function caAt(clock = new FakeClock({ start })): Promise<{ ca: SpiffeCA; clock: FakeClock }> {
  return { ca: await SpiffeCA.create({ trustDomain: 'cluster.local', clock }), clock };
}

describe('SpiffeCA.issueX509Svid', () => {
  it('issues what verifyX509Svid and openssl accept', async () => {
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local' });
    const { publicKey, privateKey } = p256();
    const issued = await ca.issueX509Svid({ spiffeId: workload, publicKey });
    const { certificates } = X509Svid.fromPem({ chainPem: issued.chainPem, privateKey });
    const verified = verifyX509Svid({ certificates, bundle: ca.bundle.current, now: Date.now() });
    expect(verified.spiffeId.toString()).toBe(workload);
    expect(verified.serialNumber).toBe(issued.serialNumber);
    const files = { leaf: issued.certificatePem, root: ca.bundle.current.x509AuthoritiesPem.join('') };
    expect(openssl(files, 'verify', '-x509_strict', '-CAfile', '{root}', '{leaf}')).toContain('OK');
    for (const purpose of ['sslclient', 'sslserver']) {
      expect(openssl(files, 'verify', '-purpose', purpose, '-CAfile', '{root}', '{leaf}')).toContain('OK');
    }
  });

  it('writes the extensions of an X.509-SVID and no others', async () => {
    const { ca } = await caAt();
    const { certificatePem } = await ca.issueX509Svid({ spiffeId: workload, publicKey: p256().publicKey });
    const text = openssl({ leaf: certificatePem }, 'x509', '-in', '{leaf}', '-noout', '-text');
    expect(text).toMatch(/Subject: *\n/);
    expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/);
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/Extended Key Usage: *\s+TLS Web Server Authentication, TLS Web Client Authentication\n/);
    expect(text).toMatch(/Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/);
    expect(text.match(/X509v3 /g)).toHaveLength(7); // the heading, and six extensions
  });

  it('makes a root that signs leaves only', async () => {
    const { ca } = await caAt();
    const [root = ''] = ca.bundle.current.x509AuthoritiesPem;
    const text = openssl({ root }, 'x509', '-in', '{root}', '-noout', '-text');
    expect(text).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    expect(text).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    expect(text).toMatch(/URI:spiffe:\/\/cluster\.local\n/);
    const at = String(start / 1000);
    const args = ['verify', '-x509_strict', '-attime', at, '-CAfile', '{root}', '{root}'];
    expect(openssl({ root }, ...args)).toContain('OK');
  });

  it.each([
    ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ECDSA P-256'],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'ECDSA P-384'],
    ['Ed25519', generateKeyPairSync('ed25519'), 'Ed25519'],
  ] as const)('takes a %s key, as an object, PEM, DER or CSR', async (_, { publicKey, privateKey }, name) => {
    const { ca, clock } = await caAt();
    const forms = [
      { publicKey },
      { publicKey: publicKey.export({ format: 'pem', type: 'spki' }) as string },
      { publicKey: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })) },
      { csr: await createCsr(privateKey) },
    ];
    for (const form of forms) {
      const { certificates } = await ca.issueX509Svid({ spiffeId: agent, ...form });
      const verified = verifyX509Svid({ certificates, bundle: ca.bundle.current, now: clock.now() });
      expect(verified.publicKey.equals(publicKey)).toBe(true);
      expect(keyTypeName(verified.publicKey)).toBe(name);
    }
  });

  it.each([
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey],
    ['X25519', generateKeyPairSync('x25519').publicKey],
    ['a private key', p256().privateKey],
    ['a private key in PEM', p256().privateKey.export({ format: 'pem', type: 'pkcs8' }) as string],
    ['garbage', Uint8Array.of(1, 2, 3)],
  ] as const)('refuses %s', async (_, publicKey) => {
    const { ca } = await caAt();
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent, publicKey }))).toBe('CA_KEY_REFUSED');
  });

  it('gives the lifetime asked for, backdated for slow clocks, in whole seconds', async () => {
    const { ca } = await caAt(new FakeClock({ start: start + 400 }));
    const { publicKey } = p256();
    const day = await ca.issueX509Svid({ spiffeId: agent, publicKey });
    expect(day.notBefore.getTime()).toBe(start - 60_000);
    expect(day.notAfter.getTime()).toBe(start + 86_400_000 + 1000);
    const short = await ca.issueX509Svid({ spiffeId: agent, publicKey, ttlMs: 2000 });
    expect(short.notBefore.getTime()).toBe(start - 2000);
    expect(short.notAfter.getTime()).toBe(start + 3000);
    const certificate = new X509Certificate(short.certificatePem);
    expect(Date.parse(certificate.validFrom)).toBe(short.notBefore.getTime());
    expect(Date.parse(certificate.validTo)).toBe(short.notAfter.getTime());
  });

  it('never issues past the end of its root, nor when too little of it is left', async () => {
    const clock = new FakeClock({ start });
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock, rootTtlMs: 3_600_000 });
    const { publicKey } = p256();
    const rootEnd = start + 3_600_000;
    expect((await ca.issueX509Svid({ spiffeId: agent, publicKey })).notAfter.getTime()).toBe(rootEnd);
    clock.advance(3_600_000 - 1999);
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent, publicKey }))).toBe('CA_AUTHORITY_EXPIRED');
    clock.jumpWall(-7_200_000);
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent, publicKey }))).toBe('CA_AUTHORITY_EXPIRED');
  });

  it.each([0, -1, 1999, Number.NaN, Number.POSITIVE_INFINITY])('refuses a lifetime of %s ms', async (ttlMs) => {
    const { ca } = await caAt();
    const request = { spiffeId: agent, publicKey: p256().publicKey, ttlMs };
    expect(await codeOf(() => ca.issueX509Svid(request))).toBe('CA_REQUEST_INVALID');
    expect(await codeOf(() => SpiffeCA.create({ trustDomain: 'cluster.local', svidTtlMs: ttlMs }))).toBe(
      'CA_REQUEST_INVALID',
    );
  });

  it.each(['spiffe://other.local/ns/a/sa/b', 'spiffe://cluster.local', 'https://cluster.local/x', ''])(
    'refuses the SPIFFE ID %j',
    async (spiffeId) => {
      const { ca } = await caAt();
      expect(await codeOf(() => ca.issueX509Svid({ spiffeId, publicKey: p256().publicKey }))).toBe(
        'CA_SPIFFE_ID_REFUSED',
      );
    },
  );

  it('wants exactly one of public key and CSR', async () => {
    const { ca } = await caAt();
    const { publicKey, privateKey } = p256();
    const csr = await createCsr(privateKey);
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent }))).toBe('CA_REQUEST_INVALID');
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent, publicKey, csr }))).toBe('CA_REQUEST_INVALID');
  });

  it('gives every certificate another 128-bit serial number', async () => {
    const { ca } = await caAt();
    const { publicKey } = p256();
    const serials = new Set<string>();
    for (let count = 0; count < 300; count += 1) {
      const { serialNumber, certificatePem } = await ca.issueX509Svid({ spiffeId: agent, publicKey });
      const inCertificate = new X509Certificate(certificatePem).serialNumber.toLowerCase();
      expect(BigInt(`0x${inCertificate}`)).toBe(BigInt(`0x${serialNumber}`));
      serials.add(serialNumber);
    }
    expect(serials.size).toBe(300);
    expect([...serials].every((serial) => serial.length > 24 && serial.length <= 32)).toBe(true);
  });

  it('issues a controller’s SVID in its own process', async () => {
    const { ca } = await caAt();
    const spiffeId = controllerId(TrustDomain.parse('cluster.local'));
    const issued = await ca.issueX509Svid({ spiffeId, publicKey: p256().publicKey });
    expect(issued.spiffeId).toEqual(SpiffeId.parse('spiffe://cluster.local/controller'));
  });

  it('reports what it issued', async () => {
    const events: CaEvent[] = [];
    const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', observer: (event) => void events.push(event) });
    const { serialNumber, notAfter } = await ca.issueX509Svid({ spiffeId: agent, publicKey: p256().publicKey });
    const [opened, ...issued] = events;
    expect(opened).toMatchObject({ type: 'ca-certificates', ends: [{ certificate: 'root', stage: 'active' }] });
    expect(issued).toEqual([{ type: 'ca-svid-issued', spiffeId: agent, serialNumber, notAfter }]);
  });
});

describe('SpiffeCA and its store', () => {
  it('opens as the same CA it was created as', async () => {
    const store = memoryStore();
    const first = await SpiffeCA.create({ trustDomain: 'cluster.local', store });
    const { certificates } = await first.issueX509Svid({ spiffeId: agent, publicKey: p256().publicKey });
    await first.close();
    const second = await SpiffeCA.open({ store });
    expect(second.bundle.current.equals(first.bundle.current)).toBe(true);
    expect(second.rootPin).toBe(first.rootPin);
    expect(verifyX509Svid({ certificates, bundle: second.bundle.current, now: Date.now() }).spiffeId.toString()).toBe(
      agent,
    );
    const fresh = await second.issueX509Svid({ spiffeId: agent, publicKey: p256().publicKey });
    verifyX509Svid({ certificates: fresh.certificates, bundle: first.bundle.current, now: Date.now() });
  });

  it('never creates over a CA, never opens nothing, never opens another trust domain', async () => {
    const store = memoryStore();
    expect(await codeOf(() => SpiffeCA.open({ store }))).toBe('CA_NOT_FOUND');
    const ca = await SpiffeCA.openOrCreate({ trustDomain: 'cluster.local', store });
    const pin = ca.rootPin;
    expect(await codeOf(() => SpiffeCA.open({ store }))).toBe('CA_STORE_LOCKED');
    await ca.close();
    expect(await codeOf(() => SpiffeCA.create({ trustDomain: 'cluster.local', store }))).toBe('CA_EXISTS');
    expect(await codeOf(() => SpiffeCA.openOrCreate({ trustDomain: 'other.local', store }))).toBe('CA_REQUEST_INVALID');
    expect((await SpiffeCA.openOrCreate({ trustDomain: 'cluster.local', store })).rootPin).toBe(pin);
  });

  it.each([
    ['no JSON', () => Buffer.from('{')],
    ['nothing', () => new Uint8Array()],
    ['another format', () => Buffer.from('{"format":"meshwright-ca/2"}')],
    [
      'another key than the root’s',
      (state: string) => {
        const parsed = JSON.parse(state) as { roots: { privateKeyPem: string }[] };
        for (const root of parsed.roots) {
          root.privateKeyPem = p256().privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
        }
        return Buffer.from(JSON.stringify(parsed));
      },
    ],
    ['no active key', (state: string) => Buffer.from(state.replaceAll('"active"', '"retired"'))],
  ])('refuses to start from a state with %s, and quotes no key', async (_, damage) => {
    const store = memoryStore();
    await (await SpiffeCA.create({ trustDomain: 'cluster.local', store })).close();
    await store.open();
    const good = Buffer.from((await store.read('authority')) ?? []).toString('utf8');
    await store.write('authority', damage(good));
    await store.close();
    for (const open of [SpiffeCA.open, SpiffeCA.openOrCreate]) {
      const error: unknown = await open({ trustDomain: 'cluster.local', store }).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'CA_STORE_CORRUPT' });
      expect(String(error)).not.toContain('PRIVATE');
    }
  });

  it('issues nothing after close', async () => {
    const { ca } = await caAt();
    const tokens = ca.tokens({ registry: { runsOn: () => true } });
    await ca.close();
    await ca.close();
    const { publicKey } = p256();
    expect(await codeOf(() => ca.issueX509Svid({ spiffeId: agent, publicKey }))).toBe('CA_CLOSED');
    expect(await codeOf(() => tokens.issue({ node: 'node-a', workload, confirmationKey: publicKey }))).toBe(
      'CA_CLOSED',
    );
    expect(await codeOf(() => ca.joinTokens())).toBe('CA_CLOSED');
  });

  it('keeps the key of workload tokens apart from the certificate key', async () => {
    const { ca } = await caAt();
    const [root] = ca.bundle.current.x509Authorities;
    const [tokenKey] = ca.bundle.current.workloadTokenKeys;
    const { x } = root?.publicKey.export({ format: 'jwk' }) ?? {};
    expect(tokenKey).toMatchObject({ kty: 'EC', crv: 'P-256' });
    expect(tokenKey).not.toMatchObject({ x });
    const [jwtKey] = ca.bundle.current.jwtAuthorities;
    expect(jwtKey).toMatchObject({ kty: 'EC', crv: 'P-256' });
    expect(jwtKey).not.toMatchObject({ x });
    expect(jwtKey?.kid).not.toBe(tokenKey?.kid);
    expect(ca.rootPin).toBe(root === undefined ? '' : rootPinOf(root.publicKey));
  });
});

it('every code says when and what to do', () => {
  for (const [code, { when, fix }] of Object.entries(caErrorCodes)) {
    expect(code).toMatch(/^CA_[A-Z0-9_]+$/);
    expect(when.endsWith('.') && fix.endsWith('.')).toBe(true);
  }
});
