import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  LatestValueCell,
  describeError,
  isMeshwrightError,
  noObserver,
  notify,
  silentLogger,
  sleep,
  systemClock,
  systemRandom,
} from '../core/index.js';
import type { Clock, Closable, Logger, Observer, Random } from '../core/index.js';
import { TrustBundle, verifyX509Svid } from '../spiffe/index.js';
import type { BundleSource, SpiffeId, SvidSource, X509Svid } from '../spiffe/index.js';
import { Backoff } from '../internal/backoff.js';
import { SingleFlight } from '../internal/single-flight.js';
import type { AgentIdentity } from './agent-identity.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import { attestUntilAnswered, obtain, save, takeKept, withTimeout } from './obtain-identity.js';
import type { SvidRequest } from './obtain-identity.js';
import { keyTypeName } from './public-key.js';
import { attemptTimeoutMs, renewalSchedule } from './renewal-schedule.js';
import type { RenewalSchedule } from './renewal-schedule.js';
import type { SecretFile } from './secret-file.js';
import { generateKey } from './signer.js';

export interface SvidRenewerOptions {
  /** Who we are. The CA must grant exactly this. */
  readonly spiffeId: SpiffeId;
  /** How to get an SVID without having one (a join token, or other evidence). Without it, only a kept identity can start. */
  readonly attest?: SvidRequest | undefined;
  /** Makes the request that renews, authenticated by the SVID in `identity.svid`. Called once. */
  readonly renew: (identity: { readonly svid: SvidSource; readonly bundle: BundleSource }) => SvidRequest;
  /** Keeps key, chain and bundle, so that a restart needs no controller. */
  readonly file?: SecretFile | undefined;
  /**
   * Called with each renewed SVID before it is used, as to fetch workload tokens for its key. When it rejects, the renewal
   * is tried again, unless the SVID in use is about to end.
   */
  readonly beforePublish?: ((candidate: X509Svid, signal: AbortSignal) => Promise<void>) | undefined;
  /**
   * After the CA began to sign with another root, the SVID is renewed within this time, in ms: at a random moment, so that a
   * whole mesh does not do it at once. Default 10 000, and never more than a twentieth of what is left of its life.
   */
  readonly rootChangeSpreadMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<CaEvent> | undefined;
  /** Gives up `start`. */
  readonly signal?: AbortSignal | undefined;
}

export interface SvidRenewerStatus {
  readonly spiffeId: string;
  readonly notAfter: Date;
  readonly renewAt: Date;
  readonly expired: boolean;
  /** Why the deny list names it; undefined when it does not. */
  readonly denied?: string | undefined;
  /** Why the last attempt failed; undefined when it did not. */
  readonly lastFailure?: string | undefined;
}

/** Wall time may be changed at any moment, so nobody sleeps longer without looking at it. */
const longestSleepMs = 30_000;

type How = 'attested' | 'renewed' | 'loaded';

/**
 * Keeps an X.509-SVID fresh: a new key and certificate at 80 % of each lifetime, tried again with backoff until the last
 * moment, one attempt at a time. An SVID that ended, or that the bundle's deny list names, is never renewed: `attest` is
 * tried instead, at once, and until it succeeds or the entry is gone. Lifetimes of seconds work like those of days.
 *
 * `svid` and `bundle` always hold the newest; an expired or denied SVID stays there, and nobody accepts it.
 */
export class SvidRenewer implements Closable {
  readonly #options: SvidRenewerOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #logger: Logger;
  readonly #observer: Observer<CaEvent>;
  readonly #svid: LatestValueCell<X509Svid>;
  readonly #bundle: LatestValueCell<TrustBundle>;
  readonly #renewRequest: SvidRequest;
  readonly #flight = new SingleFlight<'renew', void>();
  readonly #stop = new AbortController();
  /** Ends a sleep, to look at the schedule again. */
  #wake = new AbortController();
  #identity: AgentIdentity;
  #schedule: RenewalSchedule;
  #lastFailure: string | undefined;
  #denied: string | undefined;
  /** Of the attestation under way, one for all its attempts. */
  #attestationKey: KeyObject | undefined;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: SvidRenewerOptions, first: AgentIdentity, how: How) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
    this.#identity = first;
    this.#svid = new LatestValueCell(first.svid);
    this.#bundle = new LatestValueCell(first.bundle);
    this.#renewRequest = options.renew({ svid: this.#svid, bundle: this.#bundle });
    this.#schedule = this.#announce(how);
    this.#followRoot();
    this.#running = this.#run();
  }

  /**
   * Takes the kept identity when it is still valid; otherwise attests, trying for as long as the CA cannot be reached.
   * Throws `CA_NOT_ATTESTED`, the CA's refusal of the attestation, or the signal's reason.
   */
  static async start(options: SvidRenewerOptions): Promise<SvidRenewer> {
    const kept = await takeKept(options);
    if (kept !== undefined) return new SvidRenewer(options, kept, 'loaded');
    const { attest } = options;
    if (attest === undefined) {
      const message = `there is no usable SVID of ${options.spiffeId.toString()} on disk, and no join token to attest with`;
      throw new CaError('CA_NOT_ATTESTED', message);
    }
    const first = await attestUntilAnswered(options, attest);
    await save(options, first);
    return new SvidRenewer(options, first, 'attested');
  }

  get svid(): SvidSource {
    return this.#svid;
  }

  get bundle(): BundleSource {
    return this.#bundle;
  }

  get status(): SvidRenewerStatus {
    const { svid } = this.#identity;
    return {
      spiffeId: svid.spiffeId.toString(),
      notAfter: svid.notAfter,
      renewAt: new Date(this.#schedule.renewAtMs),
      expired: this.#expired(),
      denied: this.#denied,
      lastFailure: this.#lastFailure,
    };
  }

  /** Renews now, or joins the attempt under way. Throws what that attempt fails with; the schedule goes on regardless. */
  renewNow(): Promise<void> {
    return this.#flight.run('renew', () => this.#attempt());
  }

  /** Takes a newer bundle, as from `CaClient.watchBundle`; an older or equal one is ignored. Keeps it on disk too. */
  async acceptBundle(bundle: TrustBundle): Promise<void> {
    if (bundle.sequence <= this.#identity.bundle.sequence) return;
    this.#identity = { ...this.#identity, bundle };
    this.#bundle.set(bundle);
    this.#logger.info('trust bundle updated', { sequence: bundle.sequence, roots: bundle.x509Authorities.length });
    this.#followDenyList();
    this.#followRoot();
    await save(this.#options, this.#identity);
  }

  /** Stops renewing; the SVID in use stays readable. */
  async close(): Promise<void> {
    this.destroy();
    await this.#running;
  }

  destroy(_reason?: Error): void {
    this.#stop.abort(new CaError('CA_CLOSED', 'the renewer is closed'));
    this.#wake.abort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#sleepUntilDue();
      const backoff = new Backoff(this.#schedule.backoff, this.#random);
      while (!signal.aborted) {
        try {
          await this.renewNow();
          break;
        } catch (error) {
          if (signal.aborted) return;
          this.#failed(error, backoff.attempt + 1);
          await sleep(this.#clock, backoff.nextMs(), { signal: this.#wake.signal }).catch(() => undefined);
        }
      }
    }
  }

  async #sleepUntilDue(): Promise<void> {
    // At least once, so that a lifetime that shrinks to nothing cannot become a busy loop.
    do {
      const leftMs = this.#schedule.renewAtMs - this.#clock.now();
      const { signal } = this.#wake;
      await sleep(this.#clock, Math.min(longestSleepMs, Math.max(100, leftMs)), { signal }).catch(() => undefined);
    } while (!this.#stop.signal.aborted && this.#clock.now() < this.#schedule.renewAtMs);
  }

  /** Brings the renewal forward when the CA signs with another root than ours: ours is about to go. */
  #followRoot(): void {
    const { svid, bundle } = this.#identity;
    const now = this.#clock.now();
    if (isOfFirstRoot(svid, bundle, now)) return;
    const { rootChangeSpreadMs = 10_000 } = this.#options;
    const spreadMs = Math.max(0, Math.min(rootChangeSpreadMs, (svid.notAfter.getTime() - now) / 20));
    const renewAtMs = Math.floor(now + spreadMs * this.#random.fraction());
    if (renewAtMs >= this.#schedule.renewAtMs) return;
    this.#bringForward(renewAtMs);
    this.#logger.info('mesh certificate renewal brought forward: the CA signs with another root', {
      renew_at: new Date(renewAtMs).toISOString(),
    });
  }

  /** Notes whether our own SVID is denied. Everybody else refuses it from now on, and so must those who use it here. */
  #followDenyList(): void {
    const { svid, bundle } = this.#identity;
    const denied = bundle.denied.reasonFor(svid);
    if (denied === this.#denied) return;
    this.#denied = denied;
    const spiffeId = svid.spiffeId.toString();
    const fields = { spiffe_id: spiffeId, serial: svid.serialNumber };
    notify(this.#observer, { type: 'svid-denied', spiffeId, serialNumber: svid.serialNumber, denied });
    if (denied === undefined) {
      this.#logger.info('mesh certificate in use is not denied any more', fields);
      return;
    }
    this.#logger.error('mesh certificate denied: nothing is served with it; attesting anew', {
      ...fields,
      reason: denied,
    });
    this.#bringForward(this.#clock.now());
  }

  #bringForward(renewAtMs: number): void {
    this.#schedule = { ...this.#schedule, renewAtMs };
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  async #attempt(): Promise<void> {
    if (this.#stop.signal.aborted) throw new CaError('CA_CLOSED', 'the renewer is closed');
    const attests = this.#expired() || this.#denied !== undefined;
    const request = attests ? this.#options.attest : this.#renewRequest;
    if (request === undefined) throw this.#lost();
    const leftMs = this.#identity.svid.notAfter.getTime() - this.#clock.now();
    const timeoutMs = attests ? 15_000 : attemptTimeoutMs(leftMs);
    if (attests) this.#attestationKey ??= generateKey('P-256');
    const key = (attests ? this.#attestationKey : undefined) ?? generateKey('P-256');
    const next = await withTimeout(this.#clock, timeoutMs, this.#stop.signal, (signal) =>
      obtain(this.#options, this.#clock, request, signal, key),
    );
    await this.#prepare(next.svid, timeoutMs);
    await this.#publish(next, attests ? 'attested' : 'renewed');
  }

  /** Nothing is left to ask for a certificate with. */
  #lost(): CaError {
    const { spiffeId, notAfter } = this.#identity.svid;
    const what = `the SVID of ${spiffeId.toString()}`;
    const next = 'attest again, with a new join token';
    if (this.#denied !== undefined) return new CaError('CA_DENIED', `${what} is denied (${this.#denied}): ${next}`);
    return new CaError('CA_SVID_EXPIRED', `${what} ended at ${notAfter.toISOString()}: ${next}`);
  }

  async #prepare(candidate: X509Svid, timeoutMs: number): Promise<void> {
    const { beforePublish } = this.#options;
    if (beforePublish === undefined) return;
    try {
      await withTimeout(this.#clock, timeoutMs, this.#stop.signal, (signal) => beforePublish(candidate, signal));
    } catch (error) {
      const urgent = this.#denied !== undefined || this.#clock.now() >= this.#schedule.urgentFromMs;
      if (this.#stop.signal.aborted || !urgent) throw error;
      this.#logger.warn('mesh certificate used without preparation', { reason: describeError(error) });
    }
  }

  async #publish(next: AgentIdentity, how: How): Promise<void> {
    // A bundle that came by another way meanwhile may be the newer one.
    const current = this.#identity.bundle;
    const bundle = next.bundle.sequence >= current.sequence ? next.bundle : current;
    this.#identity = { ...next, bundle };
    this.#attestationKey = undefined;
    // Kept first: after a crash in between, the one on disk is the one that peers have seen, or newer.
    await save(this.#options, this.#identity);
    this.#lastFailure = undefined;
    this.#schedule = this.#announce(how);
    this.#followDenyList();
    try {
      if (bundle !== current) this.#bundle.set(bundle);
      this.#svid.set(next.svid);
    } catch (error) {
      // A subscriber's failure is its own; renewing once more would not mend it.
      this.#logger.error('a user of the mesh certificate failed to take the new one', { reason: describeError(error) });
    }
  }

  #announce(how: How): RenewalSchedule {
    const { svid, receivedAtMs } = this.#identity;
    const schedule = renewalSchedule(receivedAtMs, svid.notAfter.getTime(), this.#random);
    const renewAt = new Date(schedule.renewAtMs);
    this.#logger.info(how === 'loaded' ? 'mesh certificate loaded' : 'mesh certificate issued', {
      spiffe_id: svid.spiffeId.toString(),
      not_after: svid.notAfter.toISOString(),
      key_type: keyTypeName(createPublicKey(svid.privateKey)),
    });
    this.#logger.info('mesh certificate renewal scheduled', { renew_at: renewAt.toISOString() });
    notify(this.#observer, {
      type: 'svid-updated',
      how,
      spiffeId: svid.spiffeId.toString(),
      notAfter: svid.notAfter,
      renewAt,
    });
    return schedule;
  }

  #failed(error: unknown, attempt: number): void {
    const { spiffeId: id, notAfter } = this.#identity.svid;
    const spiffeId = id.toString();
    const first = this.#lastFailure === undefined;
    this.#lastFailure = describeError(error);
    const code = isMeshwrightError(error) ? error.code : 'CA_UNAVAILABLE';
    const now = this.#clock.now();
    const secondsLeft = Math.floor((notAfter.getTime() - now) / 1000);
    const fields = {
      spiffe_id: spiffeId,
      not_after: notAfter.toISOString(),
      seconds_left: secondsLeft,
      code,
      reason: this.#lastFailure,
      attempt,
    };
    if (this.#expired()) {
      this.#logger.error('mesh certificate expired and not replaced', fields);
      notify(this.#observer, { type: 'svid-expired', spiffeId, notAfter, code });
      return;
    }
    const { lateFromMs, urgentFromMs } = this.#schedule;
    // The first failure is news; later ones grow loud as the end comes near.
    const level =
      now >= urgentFromMs || this.#denied !== undefined
        ? 'error'
        : now >= lateFromMs
          ? 'warn'
          : first
            ? 'info'
            : 'debug';
    this.#logger[level]('mesh certificate renewal failed', fields);
    notify(this.#observer, { type: 'svid-renewal-failed', spiffeId, notAfter, code, attempt, secondsLeft });
  }

  #expired(): boolean {
    return this.#clock.now() >= this.#identity.svid.notAfter.getTime();
  }
}

/** Whether the root that the bundle names first, which is the one that signs, is the one that `svid` leads to. */
function isOfFirstRoot(
  { certificates }: X509Svid,
  { trustDomain, x509Authorities }: TrustBundle,
  now: number,
): boolean {
  if (x509Authorities.length < 2) return true;
  try {
    const bundle = TrustBundle.create({ trustDomain, x509Authorities: x509Authorities.slice(0, 1) });
    verifyX509Svid({ certificates, bundle, now });
    return true;
  } catch {
    return false;
  }
}
