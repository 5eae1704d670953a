import { CoreError, noObserver, notify, silentLogger, systemClock } from '../../core/index.js';
import type { Clock, Closable, Logger, Observer } from '../../core/index.js';
import { nativeAddon } from '../../internal/native/addon.js';
import { VipError } from '../errors.js';
import type { BfdRefusal, BfdRefusals } from './engine.js';
import type { BfdEvent } from './events.js';
import type { BfdNotice } from './messages.js';
import { BfdSession } from './session-handle.js';
import { resolveBfdSettings, sameSession } from './settings.js';
import type { BfdSessionOptions } from './settings.js';
import type { BfdStatus } from './status.js';
import { findWorker, workerFile } from './worker-location.js';
import { WorkerThread } from './worker-thread.js';

export interface BfdServiceOptions {
  /** The file of the BFD thread, where the program was bundled: a copy of dist/vip/bfd/worker.js. Default: the package's own. */
  readonly worker?: string | URL | undefined;
  /** For the pauses between restarts of the thread; protocol timers are always the system's. */
  readonly clock?: Clock | undefined;
  readonly observer?: Observer<BfdEvent> | undefined;
  readonly logger?: Logger | undefined;
}

export interface BfdAddOptions extends BfdSessionOptions {
  /** Called for every change of the status, on this thread: late when this thread is busy, though the session goes on. */
  readonly onChange?: ((status: BfdStatus) => void) | undefined;
}

interface Known {
  readonly session: BfdSession;
  readonly removed: (() => void)[];
}

/**
 * Bidirectional Forwarding Detection (RFC 5880; single hop, RFC 5881; multihop, RFC 5883), asynchronous mode, without
 * authentication and echo. Sockets and timers live in one worker thread, so a blocked main thread takes no session down.
 *
 * ```ts
 * await using bfd = await BfdService.create();
 * const session = bfd.add({ peer: '10.0.0.254', local: '10.0.0.1', txIntervalMs: 100, rxIntervalMs: 100,
 *   onChange: ({ state, diagnostic }) => console.log(state, diagnostic) });
 * ```
 *
 * Packets of a neighbour are taken only with a TTL of 255, which nothing beyond the link can have; the kernel drops others
 * before they wake us. On multihop sessions anyone who can send from the peer's address can end a session: give `minTtl`.
 *
 * Needs Linux and the native addon; no capability. A thread that dies is started again: its sessions are reported down with
 * a `problem` and come up by themselves.
 */
export class BfdService implements Closable {
  readonly #logger: Logger;
  readonly #observer: Observer<BfdEvent>;
  readonly #sessions = new Map<number, Known>();
  readonly #refusals = new Map<BfdRefusal, number>();
  #thread: WorkerThread | undefined;
  #lastId = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: BfdServiceOptions) {
    this.#logger = options.logger ?? silentLogger;
    this.#observer = options.observer ?? noObserver;
  }

  /**
   * Starts the thread. Throws `NATIVE_ADDON_MISSING`, `NATIVE_PLATFORM_UNSUPPORTED`, `VIP_BFD_WORKER_MISSING`,
   * `VIP_BFD_WORKER_FAILED`.
   */
  static async create(options: BfdServiceOptions = {}): Promise<BfdService> {
    // Loaded here too, though only the thread uses it: its absence then has its own error.
    nativeAddon('BFD');
    const service = new BfdService(options);
    service.#thread = await WorkerThread.start({
      source: options.worker === undefined ? findWorker() : workerFile(options.worker),
      clock: options.clock ?? systemClock,
      onNotice: (notice) => service.#receive(notice),
      onFailed: (error) => service.#threadFailed(error),
      onRestarted: () => service.#tellAll(),
    });
    return service;
  }

  /** Sessions that were added and not closed. */
  get sessions(): readonly BfdSession[] {
    return [...this.#sessions.values()].map(({ session }) => session).filter((session) => !session.closed);
  }

  /** Datagrams dropped so far, by reason. */
  get refusals(): BfdRefusals {
    return Object.fromEntries(this.#refusals);
  }

  /** The id of the thread (`Worker.threadId`); undefined while it is being started again. */
  get threadId(): number | undefined {
    return this.#thread?.threadId;
  }

  /**
   * Starts a session; both sides take the active role. Whatever keeps it from its sockets is in its status, and is tried
   * again. Throws `CORE_OPTION_INVALID`, `CORE_ADDRESS_MALFORMED`, `CORE_CLOSED`, and `VIP_CONFIGURATION_INVALID` for a second
   * session of the same addresses.
   */
  add(options: BfdAddOptions): BfdSession {
    if (this.#closing !== undefined) throw new CoreError('CORE_CLOSED', 'the BFD service is closed');
    const settings = resolveBfdSettings(options);
    const same = this.sessions.find((session) => sameSession(session.settings, settings));
    if (same !== undefined) {
      throw new VipError(
        'VIP_CONFIGURATION_INVALID',
        `there is already a BFD session of ${same.local} with ${same.peer}`,
      );
    }
    const id = (this.#lastId += 1);
    const removed: (() => void)[] = [];
    const session = new BfdSession(
      settings,
      {
        changeTimers: (timers) => this.#thread?.tell({ type: 'change-timers', id, timers }),
        remove: () =>
          new Promise((resolve) => {
            removed.push(resolve);
            if (!this.#sessions.has(id)) resolve();
            else if (this.#thread?.threadId === undefined) this.#forget(id);
            else this.#thread.tell({ type: 'remove', id });
          }),
      },
      this.#logger,
      options.onChange,
    );
    this.#sessions.set(id, { session, removed });
    this.#thread?.tell({ type: 'add', id, settings });
    return session;
  }

  /** Closes every session (see `BfdSession.close`), then the thread. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Ends the thread at once; peers find out by their detection time. */
  destroy(): void {
    this.#closing ??= Promise.resolve();
    this.#thread?.destroy();
    for (const id of [...this.#sessions.keys()]) this.#forget(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map(({ session }) => session.close()));
    await this.#thread?.end();
  }

  #receive(notice: Exclude<BfdNotice, { type: 'ready' }>): void {
    switch (notice.type) {
      case 'status':
        this.#take(this.#sessions.get(notice.id)?.session, notice.status);
        break;
      case 'removed':
        this.#forget(notice.id);
        break;
      case 'refusals':
        for (const [reason, count] of Object.entries(notice.refusals) as [BfdRefusal, number][]) {
          this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + count);
        }
        notify(this.#observer, { type: 'vip.bfd-packets-refused', refusals: notice.refusals });
        break;
    }
  }

  #take(session: BfdSession | undefined, status: BfdStatus): void {
    if (session === undefined) return;
    const { peer, local } = session;
    const before = session.status;
    session.take(status);
    if (status.problem !== undefined && status.problem !== before.problem) {
      this.#logger.warn('BFD session', { peer, local, problem: status.problem });
    }
    if (status.state === before.state) return;
    this.#logger.info('BFD session', { peer, local, state: status.state, diagnostic: status.diagnostic });
    notify(this.#observer, { type: 'vip.bfd-state', peer, local, status });
  }

  #forget(id: number): void {
    const known = this.#sessions.get(id);
    if (!this.#sessions.delete(id)) return;
    for (const resolve of known?.removed ?? []) resolve();
  }

  #threadFailed(error: string): void {
    this.#logger.error('the BFD thread ended and is started again', { error });
    notify(this.#observer, { type: 'vip.bfd-worker-failed', error });
    for (const [id, { session }] of [...this.#sessions]) {
      if (session.closed) this.#forget(id);
      else this.#take(session, { ...session.status, ...lost, problem: `the BFD thread ended: ${error}` });
    }
  }

  #tellAll(): void {
    for (const [id, { session }] of this.#sessions) {
      this.#thread?.tell({ type: 'add', id, settings: session.settings });
    }
  }
}

/** What is left of a session whose thread is gone. */
const lost = {
  state: 'down',
  diagnostic: 'none',
  remoteState: 'down',
  remoteDiagnostic: 'none',
  remoteDiscriminator: 0,
  detectionTimeMs: 0,
} as const satisfies Partial<BfdStatus>;
