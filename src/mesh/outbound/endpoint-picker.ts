import type { ServicePort, ServiceEndpoint } from '../resources.js';

/**
 * Round robin over the ready endpoints of a service port. Each call yields them all, starting one further than the last
 * call, so that a caller whose first choice fails can go on to the next.
 */
export class EndpointPicker {
  readonly #turns = new Map<string, number>();

  /** `key` names the service port across snapshots, for example its address. */
  candidates(key: string, port: ServicePort): readonly ServiceEndpoint[] {
    const ready = port.endpoints.filter((endpoint) => endpoint.ready);
    if (ready.length === 0) return ready;
    const turn = this.#turns.get(key) ?? 0;
    // Bounded: keys come from snapshots, but those change over a long life.
    if (this.#turns.size > 100_000) this.#turns.clear();
    this.#turns.set(key, (turn + 1) % 0x7fffffff);
    const start = turn % ready.length;
    return [...ready.slice(start), ...ready.slice(0, start)];
  }
}
