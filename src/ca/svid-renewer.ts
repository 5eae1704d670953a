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
import { SingleFlight, abandonOnAbort } from '../internal/single-flight.js';
import { identityFromGrant, loadIdentity, saveIdentity } from './agent-identity.js';
import type { AgentIdentity } from './agent-identity.js';
import type { SvidGrant } from './ca-client.js';
import { createCsr } from './csr.js';
import { CaError } from './errors.js';
import type { CaEvent } from './events.js';
import { keyTypeName } from './public-key.js';
import { attemptTimeoutMs, renewalSchedule } from './renewal-schedule.js';
import type { RenewalSchedule } from './renewal-schedule.js';
import type { SecretFile } from './secret-file.js';
import { generateKey } from './signer.js';

/** Asks a CA for a certificate for the key of `csr` (DER). */
export type SvidRequest = (csr: Uint8Array, options: { readonly signal: AbortSignal }) => Promise<SvidGrant>;

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
  /** Why the last attempt failed; undefined when it did not. */
  readonly lastFailure?: string | undefined;
}

/** What may pass by itself; any other failure of attestation is final. A Kubernetes token is replaced in its file. */
const passing = new Set([
  'CA_UNAVAILABLE',
  'CA_RATE_LIMITED',
  'CA_INTERNAL',
  'CA_CLOSED',
  'CA_ATTESTATION_UNAVAILABLE',
  'CA_KUBERNETES_TOKEN_EXPIRED',
  'CA_KUBERNETES_TOKEN_USED',
]);
/** Wall time may be changed at any moment, so nobody sleeps longer without looking at it. */
const longestSleepMs = 30_000;

type How = 'attested' | 'renewed' | 'loaded';

/**
 * Keeps an X.509-SVID fresh: a new key and certificate at 80 % of each lifetime, tried again with backoff until the last
 * moment, one attempt at a time. An SVID that ended is never renewed: `attest` is tried instead. Lifetimes of seconds
 * work like those of days.
 *
 * `svid` and `bundle` always hold the newest; an expired SVID stays there, and nobody accepts it.
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
          await sleep(this.#clock, backoff.nextMs(), { signal }).catch(() => undefined);
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
    this.#schedule = { ...this.#schedule, renewAtMs };
    this.#logger.info('mesh certificate renewal brought forward: the CA signs with another root', {
      renew_at: new Date(renewAtMs).toISOString(),
    });
    this.#wake.abort();
    this.#wake = new AbortController();
  }

  async #attempt(): Promise<void> {
    if (this.#stop.signal.aborted) throw new CaError('CA_CLOSED', 'the renewer is closed');
    const expired = this.#expired();
    const request = expired ? this.#options.attest : this.#renewRequest;
    if (request === undefined) {
      const { spiffeId, notAfter } = this.#identity.svid;
      const message = `the SVID of ${spiffeId.toString()} ended at ${notAfter.toISOString()}: attest again, with a new join token`;
      throw new CaError('CA_SVID_EXPIRED', message);
    }
    const leftMs = this.#identity.svid.notAfter.getTime() - this.#clock.now();
    const timeoutMs = expired ? 15_000 : attemptTimeoutMs(leftMs);
    if (expired) this.#attestationKey ??= generateKey('P-256');
    const key = (expired ? this.#attestationKey : undefined) ?? generateKey('P-256');
    const next = await withTimeout(this.#clock, timeoutMs, this.#stop.signal, (signal) =>
      obtain(this.#options, this.#clock, request, signal, key),
    );
    await this.#prepare(next.svid, timeoutMs);
    await this.#publish(next, expired ? 'attested' : 'renewed');
  }

  async #prepare(candidate: X509Svid, timeoutMs: number): Promise<void> {
    const { beforePublish } = this.#options;
    if (beforePublish === undefined) return;
    try {
      await withTimeout(this.#clock, timeoutMs, this.#stop.signal, (signal) => beforePublish(candidate, signal));
    } catch (error) {
      if (this.#stop.signal.aborted || this.#clock.now() < this.#schedule.urgentFromMs) throw error;
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
    const level = now >= urgentFromMs ? 'error' : now >= lateFromMs ? 'warn' : first ? 'info' : 'debug';
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

async function takeKept(options: SvidRenewerOptions): Promise<AgentIdentity | undefined> {
  const { file, spiffeId, clock = systemClock, logger = silentLogger } = options;
  if (file === undefined) return undefined;
  try {
    return await loadIdentity(file, { spiffeId, trustDomain: spiffeId.trustDomain, nowMs: clock.now() });
  } catch (error) {
    logger.warn('kept mesh certificate not usable, attesting anew', { reason: describeError(error) });
    return undefined;
  }
}

/** With one key for all attempts: evidence that was used up by an answer that got lost may then be good once more. */
async function attestUntilAnswered(options: SvidRenewerOptions, attest: SvidRequest): Promise<AgentIdentity> {
  const key = generateKey('P-256');
  const { clock = systemClock, random = systemRandom, logger = silentLogger } = options;
  const signal = options.signal ?? new AbortController().signal;
  const backoff = new Backoff({ firstMs: 250, maxMs: 10_000 }, random);
  for (;;) {
    try {
      return await withTimeout(clock, 15_000, signal, (attempt) => obtain(options, clock, attest, attempt, key));
    } catch (error) {
      signal.throwIfAborted();
      if (!isMeshwrightError(error) || !passing.has(error.code)) throw error;
      logger.warn('attestation failed, trying again', { code: error.code, reason: describeError(error) });
      await sleep(clock, backoff.nextMs(), { signal, keepAlive: true });
    }
  }
}

/** A request for `privateKey`, and the identity that comes of it. */
async function obtain(
  { spiffeId }: SvidRenewerOptions,
  clock: Clock,
  request: SvidRequest,
  signal: AbortSignal,
  privateKey: KeyObject,
): Promise<AgentIdentity> {
  const grant = await request(await createCsr(privateKey), { signal });
  return identityFromGrant(grant, privateKey, { spiffeId, trustDomain: spiffeId.trustDomain, nowMs: clock.now() });
}

/** An identity that could not be kept still serves; only a restart would miss it. */
async function save({ file, logger = silentLogger }: SvidRenewerOptions, identity: AgentIdentity): Promise<void> {
  if (file === undefined) return;
  try {
    await saveIdentity(file, identity);
  } catch (error) {
    logger.error('mesh certificate could not be kept on disk', { reason: describeError(error) });
  }
}

async function withTimeout<T>(
  clock: Clock,
  timeoutMs: number,
  outer: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const timeout = new AbortController();
  const expire = (): void => timeout.abort(new CaError('CA_UNAVAILABLE', `no answer within ${String(timeoutMs)} ms`));
  const timer = clock.timer(timeoutMs, expire);
  try {
    const signal = AbortSignal.any([outer, timeout.signal]);
    return await abandonOnAbort(run(signal), signal);
  } finally {
    timer.cancel();
  }
}
