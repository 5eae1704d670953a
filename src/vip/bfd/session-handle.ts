import { describeError } from '../../core/index.js';
import type { Logger } from '../../core/index.js';
import type { BfdState } from './packet.js';
import type { BfdTimers } from './session.js';
import { resolveBfdTimers } from './settings.js';
import type { BfdSettings, BfdTimerOptions } from './settings.js';
import type { BfdStatus } from './status.js';

/** What a session may ask of its service. */
export interface SessionOwner {
  changeTimers(timers: BfdTimers): void;
  /** Resolves when the peer was told. */
  remove(): Promise<void>;
}

/** One BFD session. Made by `BfdService.add`. */
export class BfdSession implements AsyncDisposable {
  readonly peer: string;
  readonly local: string;
  readonly #owner: SessionOwner;
  readonly #logger: Logger;
  readonly #onChange: ((status: BfdStatus) => void) | undefined;
  #settings: BfdSettings;
  #status = initialStatus;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    settings: BfdSettings,
    owner: SessionOwner,
    logger: Logger,
    onChange: ((status: BfdStatus) => void) | undefined,
  ) {
    this.peer = settings.peer;
    this.local = settings.local;
    this.#settings = settings;
    this.#owner = owner;
    this.#logger = logger;
    this.#onChange = onChange;
  }

  get state(): BfdState {
    return this.#status.state;
  }

  /** Everything that is known, as of the last message of the BFD thread. */
  get status(): BfdStatus {
    return this.#status;
  }

  /** @internal */
  get settings(): BfdSettings {
    return this.#settings;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Other intervals from now on, without a flap: both sides agree by a poll sequence before anybody slows down. What is left
   * out takes its default. Throws `CORE_OPTION_INVALID`.
   */
  changeTimers(options: BfdTimerOptions): void {
    const timers = resolveBfdTimers(options);
    this.#settings = Object.freeze({ ...this.#settings, timers });
    if (!this.closed) this.#owner.changeTimers(timers);
  }

  /** Tells the peer that the session ends by intent (AdminDown, no failure) and resolves when it knows, or its detection time has passed. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#owner.remove();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  take(status: BfdStatus): void {
    this.#status = Object.freeze(status);
    try {
      this.#onChange?.(this.#status);
    } catch (error) {
      this.#logger.error('a listener of BFD changes failed', { peer: this.peer, error: describeError(error) });
    }
  }
}

const initialStatus: BfdStatus = Object.freeze({
  state: 'down',
  diagnostic: 'none',
  remoteState: 'down',
  remoteDiagnostic: 'none',
  localDiscriminator: 0,
  remoteDiscriminator: 0,
  transport: undefined,
  transmitIntervalMs: 1000,
  detectionTimeMs: 0,
  problem: undefined,
});
