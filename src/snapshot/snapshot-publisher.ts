import { LatestValueCell, noObserver, notify, systemClock } from '../core/index.js';
import type { Clock, LatestValue, Observer } from '../core/index.js';
import { defaultMaxBytes, encode, toContent } from './encoded-content.js';
import type { Content } from './encoded-content.js';
import type { SnapshotEvent } from './events.js';

/** One published snapshot of one node. */
export interface PublishedSnapshot {
  /** Counts what this publisher published for the node, from 1. */
  readonly sequence: number;
  /** SHA-256 of the canonical JSON, lower-case hex. */
  readonly hash: string;
  readonly contentBytes: number;
}

/** What is known of a node's agent. */
export interface NodeStatus {
  readonly node: string;
  readonly connected: boolean;
  readonly published: PublishedSnapshot | undefined;
  /** What the agent last said it serves. */
  readonly applied: { readonly sequence: number; readonly hash: string; readonly at: Date } | undefined;
  /** What the agent refused last, while it is what is published. */
  readonly rejected:
    | {
        readonly sequence: number;
        readonly hash: string;
        readonly code: string;
        readonly reason: string;
        readonly at: Date;
      }
    | undefined;
}

/** A published snapshot as it goes over the wire; encoded once, however many streams ask. */
export interface OutgoingSnapshot extends PublishedSnapshot {
  encoded(): Promise<Buffer>;
}

export interface SnapshotPublisherOptions {
  /** Largest content of one snapshot. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly observer?: Observer<SnapshotEvent> | undefined;
}

/**
 * The newest snapshot of every node, for the agents that ask for theirs (`snapshotRoutes`), and what became of it there.
 * Content that did not change is not sent again; an agent that comes late, or was slow, gets the newest only.
 *
 * @example
 * const publisher = new SnapshotPublisher<MeshState>();
 * for (const node of state.nodes) publisher.publish(node.name, scopeToNode(state, node.name));
 */
export class SnapshotPublisher<T> {
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #observer: Observer<SnapshotEvent>;
  readonly #nodes = new Map<string, NodeEntry>();

  constructor(options: SnapshotPublisherOptions = {}) {
    this.#maxBytes = options.maxBytes ?? defaultMaxBytes;
    this.#clock = options.clock ?? systemClock;
    this.#observer = options.observer ?? noObserver;
  }

  /**
   * Makes `value` the snapshot of `node`. Returns what is published then; the same sequence when the content is the same.
   * Throws `SNAPSHOT_NOT_JSON` or `SNAPSHOT_TOO_LARGE`; the old snapshot stays published then.
   */
  publish(node: string, value: T): PublishedSnapshot {
    const entry = this.#entry(node);
    const content = toContent(value, this.#maxBytes);
    const previous = entry.outgoing.current;
    if (previous?.hash === content.hash) return previous;
    const outgoing = outgoingSnapshot(entry.nextSequence(), content);
    entry.rejected = undefined;
    entry.outgoing.set(outgoing);
    const { sequence, hash, contentBytes } = outgoing;
    notify(this.#observer, { type: 'snapshot-published', node, sequence, hash, contentBytes });
    return outgoing;
  }

  /**
   * Publishes each node's value and withdraws every other node. One that cannot be published keeps what it has and stops
   * no other; the failures are thrown together afterwards as an `AggregateError`.
   */
  publishAll(values: Iterable<readonly [node: string, value: T]>): void {
    const failures: unknown[] = [];
    const named = new Set<string>();
    for (const [node, value] of values) {
      named.add(node);
      try {
        this.publish(node, value);
      } catch (error) {
        failures.push(error);
      }
    }
    for (const node of [...this.#nodes.keys()]) if (!named.has(node)) this.withdraw(node);
    if (failures.length > 0)
      throw new AggregateError(failures, `${String(failures.length)} snapshots were not published`);
  }

  /** Publishes nothing for `node` any more. An agent that still runs keeps its last snapshot. */
  withdraw(node: string): void {
    const entry = this.#nodes.get(node);
    entry?.outgoing.set(undefined);
    if (entry?.streams === 0) this.#nodes.delete(node);
  }

  /** Undefined for a node that nothing was published for and whose agent is not connected. */
  statusOf(node: string): NodeStatus | undefined {
    const entry = this.#nodes.get(node);
    return entry === undefined ? undefined : statusOf(node, entry);
  }

  /** Of every node, by name. */
  statuses(): readonly NodeStatus[] {
    return [...this.#nodes].map(([node, entry]) => statusOf(node, entry)).sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** For the routes: what to send to `node`, now and later, and where to say what became of it. */
  attach(node: string): AttachedNode {
    const entry = this.#entry(node);
    entry.streams += 1;
    let open = true;
    const attached: AttachedNode = {
      outgoing: entry.outgoing,
      serves: (snapshot) => {
        entry.applied = { sequence: snapshot.sequence, hash: snapshot.hash, at: this.#now() };
        if (entry.rejected?.hash === snapshot.hash) entry.rejected = undefined;
      },
      applied: (snapshot) => {
        attached.serves(snapshot);
        this.#answered(node, snapshot, true, undefined);
      },
      rejected: (snapshot, code, reason) => {
        const { sequence: refused, hash: content } = snapshot;
        // A newer one may have been published since.
        if (entry.outgoing.current?.hash === content) {
          entry.rejected = { sequence: refused, hash: content, code, reason, at: this.#now() };
        }
        this.#answered(node, snapshot, false, reason);
      },
      detach: () => {
        if (!open) return;
        open = false;
        entry.streams -= 1;
        if (entry.streams === 0 && entry.outgoing.current === undefined) this.#nodes.delete(node);
      },
    };
    return attached;
  }

  #entry(node: string): NodeEntry {
    let entry = this.#nodes.get(node);
    if (entry === undefined) this.#nodes.set(node, (entry = new NodeEntry()));
    return entry;
  }

  #answered(node: string, snapshot: PublishedSnapshot, accepted: boolean, reason: string | undefined): void {
    const { sequence, hash } = snapshot;
    notify(this.#observer, { type: 'snapshot-answered', node, sequence, hash, accepted, reason });
  }

  #now(): Date {
    return new Date(this.#clock.now());
  }
}

export interface AttachedNode {
  readonly outgoing: LatestValue<OutgoingSnapshot | undefined>;
  /** It serves this already; nothing had to be sent. */
  serves(snapshot: PublishedSnapshot): void;
  applied(snapshot: PublishedSnapshot): void;
  rejected(snapshot: PublishedSnapshot, code: string, reason: string): void;
  detach(): void;
}

class NodeEntry {
  readonly outgoing = new LatestValueCell<OutgoingSnapshot | undefined>(undefined);
  streams = 0;
  applied: NodeStatus['applied'];
  rejected: NodeStatus['rejected'];
  #sequence = 0;

  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }
}

function statusOf(node: string, entry: NodeEntry): NodeStatus {
  const current = entry.outgoing.current;
  const published =
    current === undefined
      ? undefined
      : Object.freeze({ sequence: current.sequence, hash: current.hash, contentBytes: current.contentBytes });
  return Object.freeze({
    node,
    connected: entry.streams > 0,
    published,
    applied: entry.applied,
    rejected: entry.rejected,
  });
}

function outgoingSnapshot(sequence: number, content: Content): OutgoingSnapshot {
  let encoded: Promise<Buffer> | undefined;
  return Object.freeze({
    sequence,
    hash: content.hash,
    contentBytes: content.json.length,
    encoded: () => (encoded ??= encode(content)),
  });
}
