import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { CaError, SpiffeCA, SvidRenewer, localGrants, secretFile } from 'meshwright/ca';
import type { CaEvent, SecretFile, SvidRenewerOptions, SvidRequest } from 'meshwright/ca';
import { SpiffeId, TrustBundle, verifyX509Svid } from 'meshwright/spiffe';
import type { X509Svid } from 'meshwright/spiffe';
import { meshMetrics } from 'meshwright/telemetry';
import { FakeClock } from 'meshwright/testing';
import { publicKeyOfCsr } from '../../src/ca/csr.js';
import { agent, codeOf, recordingLogger, testDirectory, until } from './support.js';
import type { LogLine } from './support.js';

const spiffeId = SpiffeId.parse(agent);
const hour = 3_600_000;
const rank = (line: string): number =>
  line.startsWith('info') ? 0 : line.startsWith('warn') ? 1 : line.includes('renewal') ? 2 : 3;
const steady = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0 };

interface Setup {
  readonly ca: SpiffeCA;
  readonly clock: FakeClock;
  readonly lines: LogLine[];
  readonly events: CaEvent[];
  /** How often the CA was asked, and whether it answers. */
  readonly asked: { attest: number; renew: number };
  down: boolean;
  start(options?: Partial<SvidRenewerOptions>): Promise<SvidRenewer>;
}

async function setup(ttlMs = hour): Promise<Setup> {
  const clock = new FakeClock();
  const ca = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
  const { logger, lines } = recordingLogger();
  const events: CaEvent[] = [];
  const grant = localGrants(ca, spiffeId, { ttlMs });
  const asked = { attest: 0, renew: 0 };
  const counted =
    (kind: 'attest' | 'renew'): SvidRequest =>
    async (csr, options) => {
      asked[kind] += 1;
      if (made.down) throw new CaError('CA_UNAVAILABLE', 'down');
      return grant(csr, options);
    };
  const made: Setup = {
    ca,
    clock,
    lines,
    events,
    asked,
    down: false,
    start: async (options = {}) => {
      const renewer = await SvidRenewer.start({
        spiffeId,
        attest: counted('attest'),
        renew: () => counted('renew'),
        clock,
        random: steady,
        logger,
        observer: (event) => void events.push(event),
        ...options,
      });
      onTestFinished(() => renewer.close());
      return renewer;
    },
  };
  return made;
}

describe('SvidRenewer', () => {
  it('attests, and logs the certificate and its renewal at 80 % of the lifetime', async () => {
    const { start, clock, lines, events, asked } = await setup();
    const renewer = await start();
    expect(asked).toEqual({ attest: 1, renew: 0 });
    const notAfter = new Date(clock.now() + hour);
    const renewAt = new Date(clock.now() + 0.8 * hour);
    expect(lines).toEqual([
      {
        level: 'info',
        message: 'mesh certificate issued',
        fields: { spiffe_id: agent, not_after: notAfter.toISOString(), key_type: 'ECDSA P-256' },
      },
      { level: 'info', message: 'mesh certificate renewal scheduled', fields: { renew_at: renewAt.toISOString() } },
    ]);
    expect(events).toEqual([{ type: 'svid-updated', how: 'attested', spiffeId: agent, notAfter, renewAt }]);
    expect(renewer.status).toEqual({ spiffeId: agent, notAfter, renewAt, expired: false, lastFailure: undefined });
  });

  it('renews at 80 %, with a fresh key, again and again', async () => {
    const { start, clock, asked } = await setup();
    const renewer = await start();
    const thumbprints = new Set([renewer.svid.current.keyThumbprint]);
    for (let count = 1; count <= 5; count += 1) {
      await clock.advanceAsync(0.8 * hour - 1000);
      expect(asked.renew).toBe(count - 1);
      await clock.advanceAsync(1000);
      await until(() => renewer.svid.current.keyThumbprint !== [...thumbprints].at(-1));
      thumbprints.add(renewer.svid.current.keyThumbprint);
      expect(asked.renew).toBe(count);
    }
    expect(thumbprints.size).toBe(6);
    expect(asked.attest).toBe(1);
  });

  it('comes up to 2 % early, by chance', async () => {
    const { start, clock } = await setup();
    const renewer = await start({ random: { ...steady, fraction: () => 0.999999 } });
    const share = (renewer.status.renewAt.getTime() - clock.now()) / hour;
    expect(share).toBeGreaterThan(0.7799);
    expect(share).toBeLessThan(0.7801);
  });

  it('tries again with backoff while the CA is down, and has the SVID in use meanwhile', async () => {
    const made = await setup();
    const { start, clock, asked, lines, events } = made;
    const renewer = await start();
    const first = renewer.svid.current;
    made.down = true;
    await clock.advanceAsync(0.8 * hour);
    await until(() => asked.renew === 1);
    for (let minute = 0; minute < 11; minute += 1) {
      await clock.advanceAsync(60_000);
    }
    expect(renewer.svid.current).toBe(first);
    expect(asked.renew).toBeGreaterThan(3);
    expect(asked.renew).toBeLessThan(60);
    expect(renewer.status.lastFailure).toContain('down');
    const failures = lines.filter(({ message }) => message === 'mesh certificate renewal failed');
    expect(failures[0]).toMatchObject({ level: 'info', fields: { code: 'CA_UNAVAILABLE', spiffe_id: agent } });
    expect(failures.at(-1)?.level).toBe('error');
    expect(events.filter(({ type }) => type === 'svid-renewal-failed')).toHaveLength(failures.length);
    made.down = false;
    await clock.advanceAsync(60_000);
    await until(() => renewer.svid.current !== first);
    expect(renewer.status.lastFailure).toBeUndefined();
    expect(asked.attest).toBe(1);
  });

  it('grows louder towards the end, and serves until the last moment of it', async () => {
    const made = await setup();
    const { start, clock, lines, events, ca } = made;
    const metrics = meshMetrics({ clock });
    const renewer = await start({
      observer: (event) => {
        events.push(event);
        metrics.observers.ca(event);
      },
    });
    const secondsLeft = async (): Promise<number> =>
      (await metrics.registry.getSingleMetric('novaedge_mesh_cert_expiry_seconds')?.get())?.values[0]?.value ?? NaN;
    const { certificates, notAfter, serialNumber } = renewer.svid.current;
    made.down = true;
    await clock.advanceAsync(0.8 * hour);
    await until(() => events.some(({ type }) => type === 'svid-renewal-failed'));
    while (clock.now() < notAfter.getTime() - 1) {
      await clock.advanceAsync(Math.min(10_000, notAfter.getTime() - 1 - clock.now()));
      expect(renewer.svid.current.serialNumber).toBe(serialNumber);
      verifyX509Svid({ certificates, bundle: renewer.bundle.current, now: clock.now() });
    }
    expect(renewer.status.expired).toBe(false);
    expect(await secondsLeft()).toBeCloseTo(0.001);
    await clock.advanceAsync(120_000);
    await until(() => events.some(({ type }) => type === 'svid-expired'));
    expect(renewer.status.expired).toBe(true);
    expect(await secondsLeft()).toBeLessThan(-100);

    const loud = lines.filter(({ level, message }) => level !== 'debug' && /renewal failed|expired/.test(message));
    const order = loud.map(({ level, message }) => `${level} ${message}`);
    expect([...new Set(order)]).toEqual([
      'info mesh certificate renewal failed',
      'warn mesh certificate renewal failed',
      'error mesh certificate renewal failed',
      'error mesh certificate expired and not replaced',
    ]);
    // Never back to a lower voice.
    expect(order).toEqual([...order].sort((a, b) => rank(a) - rank(b)));
    const left = loud.map(({ fields }) => Number(fields['seconds_left']));
    expect(left).toEqual([...left].sort((a, b) => b - a));
    const failed = await metrics.registry.getSingleMetric('novaedge_mesh_cert_renewal_failures_total')?.get();
    expect(failed?.values[0]?.value).toBe(events.filter(({ type }) => /failed|expired/.test(type)).length);

    made.down = false;
    await clock.advanceAsync(60_000);
    await until(() => renewer.svid.current.serialNumber !== serialNumber);
    expect(await secondsLeft()).toBeGreaterThan(3000);
    await ca.close();
  });

  it('neither ends nor renews in a loop when the wall clock is set back, and is never held for valid past its end', async () => {
    const { start, clock, asked, lines } = await setup();
    const renewer = await start();
    const first = renewer.svid.current;
    clock.jumpWall(-10 * hour);
    for (let count = 0; count < 60; count += 1) await clock.advanceAsync(60_000);
    expect(renewer.svid.current).toBe(first);
    expect([renewer.status.expired, asked.renew]).toEqual([false, 0]);
    clock.jumpWall(10 * hour);
    expect(renewer.status.expired).toBe(true);
    await clock.advanceAsync(30_000);
    await until(() => renewer.svid.current !== first);
    expect(asked).toEqual({ attest: 2, renew: 0 });
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('renews soon after the CA began to sign with another root, at a moment of its own', async () => {
    const made = await setup(24 * hour);
    const { start, clock, asked, ca } = made;
    const half = { ...steady, fraction: () => 0.5 };
    const renewer = await start({ random: half });
    await ca.rootRotation.prepare();
    await renewer.acceptBundle(ca.bundle.current);
    await clock.advanceAsync(60_000);
    expect(asked.renew).toBe(0);
    await ca.rootRotation.activate({ force: true });
    await renewer.acceptBundle(ca.bundle.current);
    await clock.advanceAsync(4_500);
    expect(asked.renew).toBe(0);
    await clock.advanceAsync(1_000);
    await until(() => asked.renew === 1);
    const [newRoot] = ca.bundle.current.x509AuthoritiesPem;
    const only = TrustBundle.create({ trustDomain: 'cluster.local', x509Authorities: [newRoot ?? ''] });
    await until(() => {
      try {
        verifyX509Svid({ certificates: renewer.svid.current.certificates, bundle: only, now: clock.now() });
        return true;
      } catch {
        return false;
      }
    });
    await ca.rootRotation.retire({ force: true });
    await renewer.acceptBundle(ca.bundle.current);
    await clock.advanceAsync(hour);
    expect(asked.renew).toBe(1);
  });

  it('renews soon after a start that finds the CA signing with another root', async () => {
    const made = await setup(24 * hour);
    const { start, clock, asked, ca } = made;
    const file = secretFile(join(testDirectory(), 'identity.json'));
    await ca.rootRotation.prepare();
    const renewer = await start({ file });
    await ca.rootRotation.activate({ force: true });
    made.down = true;
    await renewer.acceptBundle(ca.bundle.current);
    await renewer.close();
    made.down = false;
    const before = asked.renew;
    await start({ file });
    await clock.advanceAsync(200);
    await until(() => asked.renew === before + 1);
  });

  it('never renews an SVID that ended: it attests again', async () => {
    const made = await setup();
    const { start, clock, asked, events } = made;
    const renewer = await start();
    const first = renewer.svid.current;
    made.down = true;
    await clock.advanceAsync(0.8 * hour);
    await until(() => asked.renew > 0);
    clock.jumpWall(0.2 * hour);
    const renewals = asked.renew;
    made.down = false;
    await clock.advanceAsync(120_000);
    await until(() => renewer.svid.current !== first);
    expect(asked).toEqual({ attest: 2, renew: renewals });
    expect(events.at(-1)).toMatchObject({ type: 'svid-updated', how: 'attested' });
  });

  it('says so when it ended and there is no way to attest', async () => {
    const made = await setup();
    const { start, clock, asked, lines, events } = made;
    const file = secretFile(join(testDirectory(), 'identity.json'));
    await (await start({ file })).close();
    const renewer = await start({ file, attest: undefined });
    made.down = true;
    await clock.advanceAsync(0.8 * hour);
    await until(() => asked.renew > 0);
    clock.jumpWall(0.2 * hour);
    const renewals = asked.renew;
    await clock.advanceAsync(120_000);
    await until(() => events.some(({ type }) => type === 'svid-expired'));
    expect(asked.renew).toBe(renewals);
    expect(lines.at(-1)).toMatchObject({
      level: 'error',
      message: 'mesh certificate expired and not replaced',
      fields: { code: 'CA_SVID_EXPIRED' },
    });
    expect(renewer.status.expired).toBe(true);
  });

  it('notices a wall clock that was set forward', async () => {
    const { start, clock, asked } = await setup(24 * hour);
    const renewer = await start();
    const first = renewer.svid.current;
    clock.jumpWall(20 * hour);
    await clock.advanceAsync(30_000);
    await until(() => renewer.svid.current !== first);
    expect(asked.renew).toBe(1);
  });

  it('renews once for many who ask at the same moment', async () => {
    const { start, asked } = await setup();
    const renewer = await start();
    await Promise.all([renewer.renewNow(), renewer.renewNow(), renewer.renewNow()]);
    expect(asked.renew).toBe(1);
    await renewer.renewNow();
    expect(asked.renew).toBe(2);
  });

  it('starts for an SVID of seconds as for one of days', async () => {
    const { start, clock, asked } = await setup(2000);
    const renewer = await start();
    for (let count = 1; count <= 5; count += 1) {
      await clock.advanceAsync(renewer.status.renewAt.getTime() - clock.now());
      await until(() => asked.renew === count && renewer.status.renewAt.getTime() > clock.now());
      expect(renewer.status.expired).toBe(false);
    }
  });
});

describe('beforePublish', () => {
  it('sees the new SVID before anybody else', async () => {
    const { start } = await setup();
    const seen: X509Svid[] = [];
    const renewer = await start({
      beforePublish: (candidate) => {
        seen.push(candidate);
        expect(renewer.svid.current).not.toBe(candidate);
        return Promise.resolve();
      },
    });
    expect(seen).toEqual([]);
    await renewer.renewNow();
    expect(seen).toEqual([renewer.svid.current]);
  });

  it('keeps the SVID in use when it fails, until that is about to end', async () => {
    const { start, clock, lines } = await setup();
    const renewer = await start({ beforePublish: () => Promise.reject(new Error('no tokens')) });
    const first = renewer.svid.current;
    await expect(renewer.renewNow()).rejects.toThrow('no tokens');
    expect(renewer.svid.current).toBe(first);
    clock.jumpWall(0.95 * hour);
    await renewer.renewNow();
    expect(renewer.svid.current).not.toBe(first);
    expect(lines.some(({ message }) => message === 'mesh certificate used without preparation')).toBe(true);
  });

  it('does not hold a renewal up for ever', async () => {
    const { start, clock } = await setup();
    const hooked: AbortSignal[] = [];
    const renewer = await start({
      beforePublish: (_candidate, signal) => {
        hooked.push(signal);
        return new Promise(() => undefined);
      },
    });
    const renewing = codeOf(() => renewer.renewNow());
    await until(() => hooked.length === 1);
    clock.advance(15_000);
    expect(await renewing).toBe('CA_UNAVAILABLE');
    expect(hooked[0]?.aborted).toBe(true);
  });
});

describe('what the CA answers', () => {
  const bad: readonly (readonly [string, (made: Setup) => SvidRequest | Promise<SvidRequest>])[] = [
    ['another node’s SVID', ({ ca }) => localGrants(ca, SpiffeId.parse('spiffe://cluster.local/agent/node-b'))],
    [
      'an SVID for another key',
      ({ ca }) =>
        async () => {
          const other = await SvidRenewer.start({
            spiffeId,
            attest: localGrants(ca, spiffeId),
            renew: () => localGrants(ca, spiffeId),
          });
          await other.close();
          return { certificates: other.svid.current.certificates, bundle: ca.bundle.current };
        },
    ],
    [
      'a bundle that does not vouch for it',
      ({ ca, clock }) =>
        async (csr, options) => {
          const stranger = await SpiffeCA.create({ trustDomain: 'cluster.local', clock });
          const { certificates } = await localGrants(ca, spiffeId)(csr, options);
          return { certificates, bundle: stranger.bundle.current };
        },
    ],
    [
      'no certificate',
      ({ ca }) =>
        () =>
          Promise.resolve({ certificates: [], bundle: ca.bundle.current }),
    ],
  ];

  it.each(bad)('is refused when it is %s', async (_, make) => {
    const made = await setup();
    const request = await make(made);
    expect(await codeOf(() => made.start({ attest: request }))).toBe('CA_RESPONSE_INVALID');
    const renewer = await made.start({ renew: () => request });
    const first = renewer.svid.current;
    expect(await codeOf(() => renewer.renewNow())).toBe('CA_RESPONSE_INVALID');
    expect(renewer.svid.current).toBe(first);
  });

  it('ends the start when it is a refusal, and only delays it when there is none', async () => {
    const made = await setup();
    const refused: SvidRequest = () => Promise.reject(new CaError('CA_JOIN_TOKEN_USED', 'used'));
    expect(await codeOf(() => made.start({ attest: refused }))).toBe('CA_JOIN_TOKEN_USED');
    expect(await codeOf(() => made.start({ attest: undefined }))).toBe('CA_NOT_ATTESTED');
    made.down = true;
    const starting = made.start();
    await until(() => made.asked.attest === 1 && made.clock.pendingTimers > 0);
    made.down = false;
    await until(() => {
      made.clock.advance(100);
      return made.asked.attest > 1;
    });
    await starting;
  });

  it('asks with one key until it is answered, and with another the next time', async () => {
    const made = await setup();
    const keys: string[] = [];
    const grant = localGrants(made.ca, spiffeId, { ttlMs: hour });
    let answers = 0;
    const attest: SvidRequest = (csr, options) => {
      keys.push(Buffer.from(publicKeyOfCsr(csr).spki).toString('base64'));
      answers += 1;
      return answers % 3 === 0 ? grant(csr, options) : Promise.reject(new CaError('CA_UNAVAILABLE', 'lost'));
    };
    const moving = async (done: () => boolean): Promise<void> => {
      await until(() => {
        made.clock.advance(500);
        return done();
      });
    };
    const starting = made.start({ attest, renew: () => () => Promise.reject(new Error('never')) });
    await moving(() => keys.length === 3);
    const renewer = await starting;
    const first = renewer.svid.current;
    made.clock.jumpWall(2 * hour);
    await moving(() => renewer.svid.current !== first);
    expect(keys).toHaveLength(6);
    expect(new Set(keys.slice(0, 3)).size).toBe(1);
    expect(new Set(keys.slice(3)).size).toBe(1);
    expect(keys[3]).not.toBe(keys[0]);
  });

  it('is no longer waited for once the start is given up', async () => {
    const made = await setup();
    made.down = true;
    const stop = new AbortController();
    const starting = made.start({ signal: stop.signal });
    await until(() => made.asked.attest === 1);
    stop.abort(new Error('given up'));
    await expect(starting).rejects.toThrow('given up');
  });
});

describe('the kept identity', () => {
  it('serves a restart without the CA, on the same schedule', async () => {
    const made = await setup();
    const path = join(testDirectory(), 'agent', 'identity.json');
    const file = secretFile(path);
    const first = await made.start({ file });
    await first.renewNow();
    await first.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    made.down = true;
    made.clock.advance(0.5 * hour);
    const attested = made.asked.attest;
    const second = await made.start({ file });
    expect(made.asked.attest).toBe(attested);
    expect(second.svid.current.serialNumber).toBe(first.svid.current.serialNumber);
    expect(second.svid.current.privateKey.equals(first.svid.current.privateKey)).toBe(true);
    expect(second.bundle.current.equals(first.bundle.current)).toBe(true);
    expect(second.status.renewAt).toEqual(first.status.renewAt);
    expect(made.lines.at(-2)?.message).toBe('mesh certificate loaded');
  });

  const unusable: readonly (readonly [string, (path: string, made: Setup) => void])[] = [
    ['expired', (_path, { clock }) => clock.jumpWall(hour)],
    ['damaged', (path) => writeFileSync(path, readFileSync(path).subarray(0, 200))],
    ['empty', (path) => writeFileSync(path, '')],
    ['readable by others', (path) => chmodSync(path, 0o640)],
  ];

  it.each(unusable)('is not used when it is %s', async (_, spoil) => {
    const made = await setup();
    const path = join(testDirectory(), 'identity.json');
    const first = await made.start({ file: secretFile(path) });
    await first.close();
    spoil(path, made);
    expect(await codeOf(() => made.start({ file: secretFile(path), attest: undefined }))).toBe('CA_NOT_ATTESTED');
    expect(made.lines.at(-1)).toMatchObject({
      level: 'warn',
      message: 'kept mesh certificate not usable, attesting anew',
    });
    const second = await made.start({ file: secretFile(path) });
    expect(second.svid.current.serialNumber).not.toBe(first.svid.current.serialNumber);
    expect(JSON.stringify(made.lines)).not.toContain('PRIVATE');
  });

  it('is not used by another node', async () => {
    const made = await setup();
    const file = secretFile(join(testDirectory(), 'identity.json'));
    await (await made.start({ file })).close();
    const other = SpiffeId.parse('spiffe://cluster.local/agent/node-b');
    expect(await codeOf(() => made.start({ file, spiffeId: other, attest: undefined }))).toBe('CA_NOT_ATTESTED');
  });

  it('that cannot be written does not stop the agent', async () => {
    const made = await setup();
    const file: SecretFile = {
      read: () => Promise.resolve(undefined),
      write: () => Promise.reject(new Error('disk full')),
    };
    const renewer = await made.start({ file });
    await renewer.renewNow();
    expect(made.lines.some(({ level, message }) => level === 'error' && message.includes('could not be kept'))).toBe(
      true,
    );
  });
});

describe('acceptBundle', () => {
  it('takes newer bundles and ignores the others', async () => {
    const { start, ca } = await setup();
    const renewer = await start();
    const bundle = (sequence: number): TrustBundle =>
      TrustBundle.create({
        trustDomain: 'cluster.local',
        x509Authorities: ca.bundle.current.x509AuthoritiesPem,
        sequence,
      });
    await renewer.acceptBundle(bundle(7));
    expect(renewer.bundle.current.sequence).toBe(7);
    await renewer.acceptBundle(bundle(6));
    expect(renewer.bundle.current.sequence).toBe(7);
    await renewer.renewNow();
    expect(renewer.bundle.current.sequence).toBe(7);
  });
});

describe('an SVID that the deny list names', () => {
  const deniedEvents = (events: readonly CaEvent[]): unknown[] =>
    events.flatMap((event) => (event.type === 'svid-denied' ? [event.denied] : []));

  it('by its serial number is replaced at once, by attesting, and loudly', async () => {
    const { start, ca, clock, asked, lines, events } = await setup();
    const renewer = await start();
    const { serialNumber } = renewer.svid.current;
    await ca.denyList.deny({ kind: 'serial-number', value: serialNumber });
    await renewer.acceptBundle(ca.bundle.current);
    expect(renewer.status.denied).toBe(`serial number ${serialNumber} is denied`);
    await until(() => renewer.svid.current.serialNumber !== serialNumber);
    expect(asked).toEqual({ attest: 2, renew: 0 });
    expect(renewer.status.denied).toBeUndefined();
    expect(deniedEvents(events)).toEqual([`serial number ${serialNumber} is denied`, undefined]);
    expect(lines.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'mesh certificate denied: nothing is served with it; attesting anew',
    ]);
    await clock.advanceAsync(0.8 * hour);
    await until(() => asked.renew === 1);
  });

  it('by its ID is not replaced, whatever is tried, until it is taken off the list', async () => {
    const { start, ca, clock, asked, lines, events } = await setup();
    const renewer = await start();
    const { serialNumber } = renewer.svid.current;
    await ca.denyList.deny({ kind: 'spiffe-id', value: agent });
    await renewer.acceptBundle(ca.bundle.current);
    await until(() => asked.attest >= 2);
    await clock.advanceAsync(10 * 60_000);
    await until(() => asked.attest >= 5);
    expect(asked.renew).toBe(0);
    expect(renewer.svid.current.serialNumber).toBe(serialNumber);
    expect(lines.at(-1)).toMatchObject({
      level: 'error',
      message: 'mesh certificate renewal failed',
      fields: { code: 'CA_DENIED' },
    });
    await ca.denyList.allow({ kind: 'spiffe-id', value: agent });
    await renewer.acceptBundle(ca.bundle.current);
    expect(renewer.status.denied).toBeUndefined();
    expect(deniedEvents(events)).toEqual([`${agent} is denied`, undefined]);
    await clock.advanceAsync(2 * 60_000);
    await until(() => asked.renew === 1);
  });

  it('stays as it is where there is no way to attest, and that is said', async () => {
    const { start, ca } = await setup();
    const file = secretFile(join(testDirectory(), 'identity.json'));
    await (await start({ file })).close();
    const renewer = await start({ file, attest: undefined });
    const { serialNumber } = renewer.svid.current;
    await ca.denyList.deny({ kind: 'serial-number', value: serialNumber });
    await renewer.acceptBundle(ca.bundle.current);
    expect(await codeOf(() => renewer.renewNow())).toBe('CA_DENIED');
    expect(renewer.svid.current.serialNumber).toBe(serialNumber);
  });

  it('is not taken from disk at the next start', async () => {
    const { start, ca, asked } = await setup();
    const file = secretFile(join(testDirectory(), 'identity.json'));
    const first = await start({ file });
    const { serialNumber } = first.svid.current;
    await first.close();
    await ca.denyList.deny({ kind: 'serial-number', value: serialNumber });
    await first.acceptBundle(ca.bundle.current);
    const next = await start({ file });
    expect(next.svid.current.serialNumber).not.toBe(serialNumber);
    expect(asked.attest).toBe(2);
  });
});

it('leaves no timer behind', async () => {
  const { start, clock } = await setup();
  const renewer = await start();
  await renewer.renewNow();
  await renewer.close();
  expect(clock.pendingTimers).toBe(0);
  expect(await codeOf(() => renewer.renewNow())).toBe('CA_CLOSED');
});
