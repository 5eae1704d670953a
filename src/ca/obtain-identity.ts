/** How an agent comes by an identity: kept from an earlier run, attested, or renewed. `SvidRenewer` decides when. */
import type { KeyObject } from 'node:crypto';
import { describeError, isMeshwrightError, silentLogger, sleep, systemClock, systemRandom } from '../core/index.js';
import type { Clock, Logger, Random } from '../core/index.js';
import type { SpiffeId } from '../spiffe/index.js';
import { Backoff } from '../internal/backoff.js';
import { abandonOnAbort } from '../internal/single-flight.js';
import { identityFromGrant, loadIdentity, saveIdentity } from './agent-identity.js';
import type { AgentIdentity } from './agent-identity.js';
import type { SvidGrant } from './ca-client.js';
import { createCsr } from './csr.js';
import { CaError } from './errors.js';
import type { SecretFile } from './secret-file.js';
import { generateKey } from './signer.js';

/** Asks a CA for a certificate for the key of `csr` (DER). */
export type SvidRequest = (csr: Uint8Array, options: { readonly signal: AbortSignal }) => Promise<SvidGrant>;

/** What all of them need of `SvidRenewerOptions`. */
export interface ObtainOptions {
  readonly spiffeId: SpiffeId;
  readonly file?: SecretFile | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly signal?: AbortSignal | undefined;
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

/** The identity kept on disk, when it can still be used. */
export async function takeKept(options: ObtainOptions): Promise<AgentIdentity | undefined> {
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
export async function attestUntilAnswered(options: ObtainOptions, attest: SvidRequest): Promise<AgentIdentity> {
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
export async function obtain(
  { spiffeId }: ObtainOptions,
  clock: Clock,
  request: SvidRequest,
  signal: AbortSignal,
  privateKey: KeyObject,
): Promise<AgentIdentity> {
  const grant = await request(await createCsr(privateKey), { signal });
  return identityFromGrant(grant, privateKey, { spiffeId, trustDomain: spiffeId.trustDomain, nowMs: clock.now() });
}

/** An identity that could not be kept still serves; only a restart would miss it. */
export async function save({ file, logger = silentLogger }: ObtainOptions, identity: AgentIdentity): Promise<void> {
  if (file === undefined) return;
  try {
    await saveIdentity(file, identity);
  } catch (error) {
    logger.error('mesh certificate could not be kept on disk', { reason: describeError(error) });
  }
}

/** Ends `run` after `timeoutMs` with `CA_UNAVAILABLE`, and with `outer`. */
export async function withTimeout<T>(
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
