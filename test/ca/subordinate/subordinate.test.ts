import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SpiffeCA, caAdminCalls, localSigner, memoryStore, rootPinOf } from 'meshwright/ca';
import type { AuditEntry, CaStore, SpiffeCAInstallOptions } from 'meshwright/ca';
import { X509Svid, verifyX509Svid } from 'meshwright/spiffe';
import type { TrustBundle } from 'meshwright/spiffe';
import { controllerMetrics } from 'meshwright/telemetry';
import { FakeClock } from 'meshwright/testing';
import type { TestCertificateFields } from '../../../src/testing/test-certificate.js';
import { derBoolean, derOctetString, derSequence } from '../../../src/internal/der/writer.js';
import { agent, codeOf, p256 } from '../support.js';
import { externalRoot } from './external-ca.js';
import type { ExternalCa } from './external-ca.js';

const trustDomain = 'cluster.local';
const startMs = Date.UTC(2030, 0, 1);
const hourMs = 3_600_000;

interface Setup {
  readonly clock: FakeClock;
  readonly store: CaStore;
  readonly root: ExternalCa;
  readonly csrPem: string;
  install(chainPem: string, options?: Partial<SpiffeCAInstallOptions>): Promise<SpiffeCA>;
}

async function setup(root = externalRoot(startMs)): Promise<Setup> {
  const clock = new FakeClock({ start: startMs });
  const store = memoryStore();
  const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain, store });
  const install = (chainPem: string, options: Partial<SpiffeCAInstallOptions> = {}): Promise<SpiffeCA> =>
    SpiffeCA.installSubordinate({ store, clock, chainPem, rootPem: root.pem, ...options });
  return { clock, store, root, csrPem, install };
}

async function issue(ca: SpiffeCA, ttlMs = hourMs): Promise<X509Svid> {
  const { publicKey, privateKey } = p256();
  const { chainPem } = await ca.issueX509Svid({ spiffeId: agent, publicKey, ttlMs });
  return X509Svid.fromPem({ chainPem, privateKey });
}

const accepted = (svid: X509Svid, bundle: TrustBundle, now: number): boolean => {
  try {
    return verifyX509Svid({ certificates: svid.certificates, bundle, now }).spiffeId.toString() === agent;
  } catch {
    return false;
  }
};

describe('a subordinate CA', () => {
  it('issues chains to the external root, which is all that its bundle holds', async () => {
    const { root, csrPem, install, clock } = await setup();
    const upper = root.intermediate('corporate issuing');
    const ca = await install(`${upper.pem}${upper.sign(csrPem)}${root.pem}`);
    expect(ca.bundle.current.x509AuthoritiesPem).toEqual([root.pem]);
    expect(ca.rootPin).toBe(rootPinOf(ca.bundle.current.x509Authorities[0]?.publicKey as never));
    const svid = await issue(ca);
    expect(svid.certificates).toHaveLength(3);
    expect(accepted(svid, ca.bundle.current, clock.now())).toBe(true);
    expect(ca.externalRoot.status).toMatchObject({ subordinate: true, requested: undefined });
  });

  it('reports when each certificate it rests on ends, through a rotation, as metrics', async () => {
    const { root, csrPem, install, clock } = await setup();
    const { registry, observers } = controllerMetrics({ clock });
    const upper = root.intermediate('corporate issuing');
    const chain = `${upper.pem}${upper.sign(csrPem)}`;
    const ca = await install(chain, { observer: observers.ca });
    const ends = async (): Promise<Readonly<Record<string, number>>> => {
      const shown = await registry.metrics();
      const row =
        /^novaedge_mesh_ca_certificate_not_after_timestamp_seconds\{certificate="(\w+)",stage="(\w+)"\} (\d+)$/gm;
      return Object.fromEntries(
        [...shown.matchAll(row)].map(([, what, stage, end]) => [`${stage} ${what}`, Number(end)]),
      );
    };
    const daysFromStart = (days: number): number => startMs / 1000 + days * 86_400;
    const external = { 'active root': daysFromStart(3650), 'active intermediate': daysFromStart(365) };
    expect(await ends()).toEqual(external);
    await ca.rootRotation.prepare({ selfSigned: true, ttlMs: 100 * 86_400_000 });
    expect(await ends()).toEqual({ ...external, 'prepared root': daysFromStart(100) });
    await ca.rootRotation.activate({ force: true });
    expect(await ends()).toEqual({
      'active root': daysFromStart(100),
      'outgoing root': daysFromStart(3650),
      'outgoing intermediate': daysFromStart(365),
    });
    await ca.rootRotation.retire({ force: true });
    expect(await ends()).toEqual({ 'active root': daysFromStart(100) });
  });

  it('under P-384, RSA and Ed25519 roots alike', async () => {
    for (const keyType of ['P-384', 'RSA-2048', 'Ed25519'] as const) {
      const { root, csrPem, install, clock } = await setup(externalRoot(startMs, {}, keyType));
      const ca = await install(root.sign(csrPem));
      expect(accepted(await issue(ca), ca.bundle.current, clock.now())).toBe(true);
    }
  });

  it('ends no leaf after any certificate above it, and begins none before', async () => {
    const { root, csrPem, install, clock } = await setup();
    const upper = root.intermediate('corporate issuing', { notAfter: new Date(startMs + 2 * hourMs) });
    const ca = await install(`${upper.sign(csrPem, { notBefore: new Date(startMs - 5000) })}${upper.pem}`);
    const { notAfter, notBefore } = await issue(ca, 24 * hourMs);
    expect(notAfter.getTime()).toBe(startMs + 2 * hourMs);
    expect(notBefore.getTime()).toBe(startMs - 5000);
    expect(ca.externalRoot.status.notAfter.getTime()).toBe(startMs + 2 * hourMs);
    clock.advance(2 * hourMs - 1000);
    expect(await codeOf(() => issue(ca))).toBe('CA_AUTHORITY_EXPIRED');
  });

  it('survives a restart at any point: waiting, installed, with the next request out', async () => {
    const { root, csrPem, install, store, clock } = await setup();
    expect(await codeOf(() => SpiffeCA.open({ store, clock }))).toBe('CA_CHAIN_MISSING');
    expect(await codeOf(() => SpiffeCA.openOrCreate({ trustDomain, store, clock }))).toBe('CA_CHAIN_MISSING');
    expect(await codeOf(() => SpiffeCA.create({ trustDomain, store, clock }))).toBe('CA_EXISTS');
    expect(await SpiffeCA.requestSubordinate({ trustDomain, store })).toEqual({ csrPem });
    expect(await codeOf(() => SpiffeCA.requestSubordinate({ trustDomain: 'other.local', store }))).toBe('CA_EXISTS');
    const wrongDomain = install(root.sign(csrPem), { trustDomain: 'other.local' });
    expect(await codeOf(() => wrongDomain)).toBe('CA_REQUEST_INVALID');
    await (await install(root.sign(csrPem))).close();
    expect(await codeOf(() => SpiffeCA.requestSubordinate({ trustDomain, store }))).toBe('CA_EXISTS');
    expect(await codeOf(() => install(root.sign(csrPem)))).toBe('CA_EXISTS');
    const second = await SpiffeCA.open({ store, clock });
    const next = await second.externalRoot.request();
    await second.close();
    await using third = await SpiffeCA.open({ store, clock });
    expect(await third.externalRoot.request()).toEqual(next);
    expect(third.externalRoot.status.requested?.csrPem).toBe(next.csrPem);
    expect(accepted(await issue(third), third.bundle.current, clock.now())).toBe(true);
  });

  it('goes on after a crash before or after the write of any step', async () => {
    const inner = memoryStore();
    let crash: 'before' | 'after' | undefined;
    const store: CaStore = {
      ...inner,
      write: async (name, bytes) => {
        if (crash === 'before') throw new Error('crash');
        await inner.write(name, bytes);
        if (crash === 'after') throw new Error('crash');
      },
    };
    const nowMs = Date.now();
    const root = externalRoot(nowMs);
    const next = externalRoot(nowMs, {}, 'P-384', 'next root');
    const crashing = async (run: () => Promise<unknown>): Promise<void> => {
      for (const when of ['before', 'after'] as const) {
        crash = when;
        await expect(run()).rejects.toThrow(/crash|holds a CA/);
        crash = undefined;
      }
    };
    // A crash after the write makes the same request appear again.
    crash = 'before';
    await expect(SpiffeCA.requestSubordinate({ trustDomain, store })).rejects.toThrow('crash');
    crash = 'after';
    await expect(SpiffeCA.requestSubordinate({ trustDomain, store })).rejects.toThrow('crash');
    crash = undefined;
    const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain, store });
    const chain = { chainPem: root.sign(csrPem), rootPem: root.pem };
    await crashing(() => SpiffeCA.installSubordinate({ store, ...chain }));

    const step = async (run: (ca: SpiffeCA) => Promise<unknown>): Promise<void> => {
      for (const when of ['before', 'after'] as const) {
        const ca = await SpiffeCA.open({ store });
        crash = when;
        await expect(run(ca)).rejects.toThrow('crash');
        crash = undefined;
        expect(accepted(await issue(ca), ca.bundle.current, Date.now())).toBe(true);
        await ca.close();
      }
    };
    const open = async <T>(use: (ca: SpiffeCA) => T): Promise<T> => {
      await using ca = await SpiffeCA.open({ store });
      return use(ca);
    };
    await step((ca) => ca.externalRoot.request());
    const requested = await open((ca) => ca.externalRoot.status.requested?.csrPem ?? '');
    await step((ca) => ca.externalRoot.install({ chainPem: next.sign(requested), rootPem: next.pem }));
    expect(await open((ca) => ca.rootRotation.status.phase)).toBe('prepared');
    await step((ca) => ca.rootRotation.activate({ force: true }));
    await step((ca) => ca.rootRotation.retire({ force: true }));
    expect(await open((ca) => ca.bundle.current.x509AuthoritiesPem)).toEqual([next.pem]);
  });

  it('whose key an external signer holds keeps none, and asks for the signer', async () => {
    const signer = localSigner(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey);
    const documents: string[] = [];
    const inner = memoryStore();
    const store: CaStore = {
      ...inner,
      write: (name, bytes) => {
        documents.push(Buffer.from(bytes).toString('utf8'));
        return inner.write(name, bytes);
      },
    };
    const clock = new FakeClock({ start: startMs });
    const root = externalRoot(startMs);
    const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain, store, signer });
    const chain = { store, clock, chainPem: root.sign(csrPem), rootPem: root.pem };
    expect(await codeOf(() => SpiffeCA.installSubordinate(chain))).toBe('CA_SIGNER_MISSING');
    const ca = await SpiffeCA.installSubordinate({ ...chain, signers: [signer] });
    expect(accepted(await issue(ca), ca.bundle.current, clock.now())).toBe(true);
    const last = JSON.parse(documents.at(-1) ?? '{}') as { roots: object[] };
    expect(last.roots[0]).not.toHaveProperty('privateKeyPem');
    await ca.close();
    expect(await codeOf(() => SpiffeCA.open({ store, clock }))).toBe('CA_SIGNER_MISSING');
  });
});

describe('a chain is refused', () => {
  const foreign = (): ExternalCa => externalRoot(startMs, {}, 'P-256', 'corporate root');
  const uris = (...uriNames: string[]): Partial<TestCertificateFields> => ({ uriNames });
  const nameConstraints = (critical: boolean): Partial<TestCertificateFields> => ({
    extraExtensions: [{ oid: '2.5.29.30', critical, value: derSequence() }],
  });
  const leafChanges: readonly (readonly [string, Partial<TestCertificateFields>])[] = [
    ['no CA', { ca: { isCa: false } }],
    ['without basic constraints', { ca: undefined }],
    ['without keyCertSign', { keyUsage: [0] }],
    ['without key usage', { keyUsage: undefined }],
    ['for servers only', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }],
    ['of another trust domain', uris('spiffe://other.local')],
    ['an identity with a path', uris('spiffe://cluster.local/agent/node-a')],
    ['of two trust domains', uris('spiffe://cluster.local', 'spiffe://other.local')],
    ['with another URI', uris('https://cluster.local')],
    ['with name constraints', nameConstraints(true)],
    ['with name constraints that are not critical', nameConstraints(false)],
    [
      'with a critical extension that nobody knows',
      { extraExtensions: [{ oid: '1.2.3.4', critical: true, value: derOctetString(derBoolean(true)) }] },
    ],
    ['expired', { notAfter: new Date(startMs - 1000) }],
    ['about to expire', { notAfter: new Date(startMs + 59_000) }],
    ['not valid yet', { notBefore: new Date(startMs + hourMs) }],
    ['signed with SHA-1', { sha1: true }],
  ];
  it.each(leafChanges)('whose certificate is %s', async (_, changes) => {
    const { root, csrPem, install } = await setup();
    expect(await codeOf(() => install(root.sign(csrPem, changes)))).toBe('CA_CHAIN_REFUSED');
    // The request is still out.
    await install(root.sign(csrPem, uris('spiffe://cluster.local')));
  });

  const pathLength = (length: number) => ({ ca: { isCa: true, pathLength: length } });
  const chains: readonly (readonly [string, string, (root: ExternalCa, csr: string) => string])[] = [
    ['that is empty', 'CHAIN_KEY', () => ''],
    ['that is no PEM', 'CHAIN_REFUSED', () => 'hello'],
    ['with text in it', 'CHAIN_REFUSED', (root, csr) => `Certificate:\n${root.sign(csr)}`],
    ['without our key', 'CHAIN_KEY', (root) => root.pem],
    ['with our key twice', 'CHAIN_REFUSED', (root, csr) => root.sign(csr) + root.sign(csr)],
    ['of another root of the same name', 'CHAIN_REFUSED', (_, csr) => foreign().sign(csr)],
    ['without its intermediate', 'CHAIN_REFUSED', (root, csr) => root.intermediate('upper').sign(csr)],
    [
      'with a certificate that is not part of it',
      'CHAIN_REFUSED',
      (root, csr) => root.sign(csr) + root.intermediate('stray').pem,
    ],
    [
      'whose intermediate may sign leaves only',
      'CHAIN_REFUSED',
      (root, csr) => {
        const upper = root.intermediate('upper', pathLength(0));
        return upper.sign(csr) + upper.pem;
      },
    ],
    [
      'whose intermediate is no CA',
      'CHAIN_REFUSED',
      (root, csr) => {
        const upper = root.intermediate('upper', { ca: { isCa: false } });
        return upper.sign(csr) + upper.pem;
      },
    ],
    [
      'whose intermediate has name constraints',
      'CHAIN_REFUSED',
      (root, csr) => {
        const upper = root.intermediate('upper', nameConstraints(true));
        return upper.sign(csr) + upper.pem;
      },
    ],
    [
      'that is longer than peers follow',
      'CHAIN_REFUSED',
      (root, csr) => {
        let last = root;
        let pem = '';
        for (let depth = 0; depth < 5; depth += 1) {
          last = last.intermediate(`upper ${String(depth)}`);
          pem += last.pem;
        }
        return last.sign(csr) + pem;
      },
    ],
    ['of nine certificates', 'CHAIN_REFUSED', (root) => root.pem.repeat(9)],
  ];
  it.each(chains)('%s', async (_, code, chain) => {
    const { root, csrPem, install } = await setup();
    expect(await codeOf(() => install(chain(root, csrPem)))).toBe(`CA_${code}`);
    await install(root.sign(csrPem, { ca: { isCa: true, pathLength: 0 } }));
  });

  it('whose root is none', async () => {
    const { root, csrPem, install } = await setup();
    const upper = root.intermediate('upper');
    const chainPem = upper.sign(csrPem);
    for (const rootPem of ['', 'x', root.pem + upper.pem, upper.pem, foreign().pem]) {
      expect(await codeOf(() => install(chainPem + upper.pem, { rootPem }))).toBe('CA_CHAIN_REFUSED');
    }
    for (const bad of [
      externalRoot(startMs, { ca: { isCa: true, pathLength: 0 } }),
      externalRoot(startMs, { uriNames: ['spiffe://other.local'] }),
      externalRoot(startMs, {}, 'RSA-1024'),
      externalRoot(startMs, {}, 'P-521'),
      externalRoot(startMs, { notAfter: new Date(startMs - 1000) }),
      externalRoot(startMs, { keyUsage: [0] }),
    ]) {
      const via = bad.intermediate('upper');
      expect(await codeOf(() => install(via.sign(csrPem) + via.pem, { rootPem: bad.pem }))).toBe('CA_CHAIN_REFUSED');
    }
    await install(chainPem + upper.pem);
  });

  it('for a request that was replaced or withdrawn', async () => {
    const { root, csrPem, install } = await setup();
    const ca = await install(root.sign(csrPem));
    const external = ca.externalRoot;
    const chain = (csr: string) => ({ chainPem: root.sign(csr), rootPem: root.pem });
    expect(await codeOf(() => external.install(chain(csrPem)))).toBe('CA_CSR_MISSING');
    const first = await external.request();
    const second = await external.request({ replace: true, keyType: 'P-384' });
    expect(second).not.toEqual(first);
    expect(await codeOf(() => external.install(chain(first.csrPem)))).toBe('CA_CHAIN_KEY');
    expect(await external.withdraw()).toBe(true);
    expect(await external.withdraw()).toBe(false);
    expect(await codeOf(() => external.install(chain(second.csrPem)))).toBe('CA_CSR_MISSING');
  });
});

describe('the next certificate', () => {
  const other = externalRoot(startMs, {}, 'P-384', 'other root');

  it('of the same root waits until everybody has its intermediate, and nothing of before is refused', async () => {
    const { root, csrPem, install, clock } = await setup();
    const ca = await install(root.sign(csrPem));
    const old = await issue(ca);
    const { csrPem: next } = await ca.externalRoot.request();
    expect(accepted(await issue(ca), ca.bundle.current, clock.now())).toBe(true);
    await ca.externalRoot.install({ chainPem: root.sign(next, { subject: 'mesh issuing 2' }), rootPem: root.pem });
    expect(ca.bundle.current.x509AuthoritiesPem).toEqual([root.pem]);
    expect(ca.bundle.current.x509IntermediatesPem).toHaveLength(2);
    expect(await codeOf(() => ca.rootRotation.activate())).toBe('CA_ROTATION_NOT_READY');
    await ca.rootRotation.activate({ force: true });
    const young = await issue(ca);
    // As a server on Node 24 sees its clients.
    for (const svid of [old, young]) {
      const certificates = svid.certificates.slice(0, 1);
      expect(verifyX509Svid({ certificates, bundle: ca.bundle.current, now: clock.now() }).spiffeId.toString()).toBe(
        agent,
      );
    }
    expect(young.certificates[1]).not.toEqual(old.certificates[1]);
    clock.advance(1.2 * hourMs - 1);
    await ca.rootRotation.retire({ force: true });
    // Dropping a key of one root does not end what it signed: its chain leads to that root still.
    for (const svid of [old, young]) expect(accepted(svid, ca.bundle.current, startMs)).toBe(true);
    expect(ca.rootRotation.status.phase).toBe('steady');
  });

  it('of another root signs once everybody knows that root, and the old root goes last', async () => {
    const { root, csrPem, install, clock } = await setup();
    const ca = await install(root.sign(csrPem));
    const old = await issue(ca);
    const before = ca.bundle.current;
    const { csrPem: next } = await ca.externalRoot.request();
    await ca.externalRoot.install({ chainPem: other.sign(next), rootPem: other.pem });
    const both = ca.bundle.current;
    expect(both.x509AuthoritiesPem).toEqual([root.pem, other.pem]);
    expect(await codeOf(() => ca.rootRotation.activate())).toBe('CA_ROTATION_NOT_READY');
    expect(accepted(await issue(ca, 60_000), before, clock.now())).toBe(true);
    clock.advance(1.2 * hourMs);
    await ca.rootRotation.activate();
    const young = await issue(ca);
    expect([before, both].map((bundle) => accepted(young, bundle, clock.now()))).toEqual([false, true]);
    await ca.rootRotation.retire();
    expect(ca.bundle.current.x509AuthoritiesPem).toEqual([other.pem]);
    expect(accepted(young, ca.bundle.current, clock.now())).toBe(true);
    expect(accepted(old, ca.bundle.current, startMs)).toBe(false);
  });

  it('moves a CA with a root of its own under an external one, and back only on purpose', async () => {
    const clock = new FakeClock({ start: startMs });
    const audit: AuditEntry[] = [];
    const ca = await SpiffeCA.create({
      trustDomain,
      clock,
      audit: { append: (entry) => Promise.resolve(void audit.push(entry)), close: () => Promise.resolve() },
    });
    const own = ca.rootPin;
    expect(ca.externalRoot.status.subordinate).toBe(false);
    const { csrPem } = await ca.externalRoot.request({ by: 'alice', reason: 'policy' });
    await ca.externalRoot.install({ chainPem: other.sign(csrPem), rootPem: other.pem }, { by: 'alice' });
    expect(await codeOf(() => ca.externalRoot.install({ chainPem: '', rootPem: '' }))).toBe('CA_CSR_MISSING');
    await ca.rootRotation.activate({ force: true });
    await ca.rootRotation.retire({ force: true });
    expect(ca.rootPin).not.toBe(own);
    expect(audit.map(({ operation, who }) => `${operation} ${who}`)).toEqual([
      'root-create operator',
      'root-request alice',
      'root-install alice',
      'root-activate operator',
      'root-retire operator',
    ]);
    expect(await codeOf(() => ca.rootRotation.prepare())).toBe('CA_REQUEST_INVALID');
    await ca.rootRotation.prepare({ selfSigned: true });
    const { csrPem: late } = await ca.externalRoot.request();
    const during = { chainPem: other.sign(late), rootPem: other.pem };
    expect(await codeOf(() => ca.externalRoot.install(during))).toBe('CA_ROTATION_PHASE');
    await ca.rootRotation.cancel();
    await ca.externalRoot.install(during);
    expect(ca.rootRotation.status.phase).toBe('prepared');
  });

  it('comes through the calls of an administrator too, and is recorded as theirs', async () => {
    const { root, csrPem, install } = await setup();
    const audit: AuditEntry[] = [];
    const log = {
      append: (entry: AuditEntry) => Promise.resolve(void audit.push(entry)),
      close: () => Promise.resolve(),
    };
    const ca = await install(root.sign(csrPem), { audit: log });
    const calls = caAdminCalls({ ca, who: 'admin socket' });
    const { csrPem: next } = (await calls['ca-csr']({ keyType: 'P-384', reason: 'yearly' })) as { csrPem: string };
    expect(await calls['ca-csr']({})).toEqual({ csrPem: next });
    expect(await calls['ca-show']({})).toMatchObject({ externalRoot: { requested: { csrPem: next } } });
    const chain = { chainPem: root.sign(next, { subject: 'mesh issuing 2' }), rootPem: root.pem };
    expect(await codeOf(() => calls['ca-install']({ ...chain, rootPem: other.pem }))).toBe('CA_CHAIN_REFUSED');
    expect(await codeOf(() => calls['ca-install']({ chainPem: chain.chainPem }))).toBe('CA_REQUEST_INVALID');
    expect(await calls['ca-install']({ ...chain, reason: 'yearly' })).toMatchObject({ phase: 'prepared' });
    expect(await calls['ca-csr']({ withdraw: true })).toEqual({ withdrawn: false });
    expect(audit.map(({ operation, who, why }) => [operation, who, why])).toEqual([
      ['root-install', 'operator', undefined],
      ['root-request', 'admin socket', 'yearly'],
      ['root-install', 'admin socket', 'yearly'],
    ]);
  });
});
