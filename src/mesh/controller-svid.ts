import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { SpiffeCA } from '../ca/index.js';
import { LatestValueCell, describeError, silentLogger, systemClock } from '../core/index.js';
import type { Clock, Closable, LatestValue, Logger, Timer } from '../core/index.js';
import { X509Svid, controllerId } from '../spiffe/index.js';

const newKeyPair = promisify(generateKeyPair);

export interface ControllerSvidOptions {
  readonly ca: SpiffeCA;
  /** Default 24 h; at least 2,000. */
  readonly ttlMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * The controller's own SVID, issued by the CA in its own process (no network service ever issues a controller ID) with a
 * fresh key, and again at 80 % of its lifetime. After a failure it tries again every tenth of the lifetime.
 */
export class ControllerSvid implements Closable {
  readonly source: LatestValue<X509Svid>;
  readonly #cell: LatestValueCell<X509Svid>;
  readonly #options: ControllerSvidOptions;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(options: ControllerSvidOptions, first: X509Svid, ttlMs: number) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#ttlMs = ttlMs;
    this.#cell = new LatestValueCell(first);
    this.source = this.#cell;
    this.#arm(0.8 * ttlMs);
  }

  static async start(options: ControllerSvidOptions): Promise<ControllerSvid> {
    const ttlMs = options.ttlMs ?? 86_400_000;
    return new ControllerSvid(options, await issue(options.ca, ttlMs), ttlMs);
  }

  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  destroy(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #arm(delayMs: number): void {
    if (this.#closed) return;
    this.#timer = this.#clock.timer(delayMs, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    try {
      this.#cell.set(await issue(this.#options.ca, this.#ttlMs));
      this.#arm(0.8 * this.#ttlMs);
    } catch (error) {
      const logger = this.#options.logger ?? silentLogger;
      logger.error('controller certificate not renewed', { error: describeError(error) });
      this.#arm(0.1 * this.#ttlMs);
    }
  }
}

async function issue(ca: SpiffeCA, ttlMs: number): Promise<X509Svid> {
  const { publicKey, privateKey } = await newKeyPair('ec', { namedCurve: 'P-256' });
  const { chainPem } = await ca.issueX509Svid({ spiffeId: controllerId(ca.trustDomain), publicKey, ttlMs });
  return X509Svid.fromPem({ chainPem, privateKey });
}
