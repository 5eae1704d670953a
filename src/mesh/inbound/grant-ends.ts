/** Grants of policies that end while connections are open: the log says so, and the connections are judged again. */
import { watchGrants } from '../../authz/index.js';
import type { GrantState, GrantWatch } from '../../authz/index.js';
import type { Clock, Logger } from '../../core/index.js';
import type { MeshView } from '../mesh-view.js';

export class GrantEnds {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onEnded: (view: MeshView) => void;
  #watch: GrantWatch | undefined;
  /** What the log has said already; a newer view has mostly the same grants. */
  #reported: ReadonlySet<string> = new Set();

  constructor(options: {
    readonly clock: Clock;
    readonly logger: Logger;
    /** A grant ended in this view, which is the newest. */
    readonly onEnded: (view: MeshView) => void;
  }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#onEnded = options.onEnded;
  }

  /** Follows the grants of this view, and no longer those of the one before. */
  follow(view: MeshView): void {
    this.#watch?.close();
    const known = new Set(view.engine.grants().map(keyOf));
    this.#reported = new Set([...this.#reported].filter((key) => known.has(key)));
    this.#watch = watchGrants(view.engine, {
      clock: this.#clock,
      onEnded: (grant) => {
        if (this.#reported.has(keyOf(grant))) return;
        this.#reported = new Set([...this.#reported, keyOf(grant)]);
        const { policy, notAfter, owner, reason } = grant;
        this.#logger.warn('grant ended', { policy, not_after: notAfter, owner, reason });
        this.#onEnded(view);
      },
    });
  }

  close(): void {
    this.#watch?.close();
  }
}

function keyOf({ policy, notAfter }: GrantState): string {
  return `${policy} ${notAfter}`;
}
