import type { Clock } from '../../../../src/core/index.js';
import { macBytes } from '../../../../src/vip/l2/mac.js';
import { announcementPackets, readSighting } from '../../../../src/vip/l2/sighting.js';
import type { L2Protocol, OutgoingPacket } from '../../../../src/vip/l2/sighting.js';
import type { LinkTransport, OpenTransport, TransportOptions } from '../../../../src/vip/l2/transport.js';

interface Sent {
  readonly atMs: number;
  readonly from: string;
  readonly protocol: L2Protocol;
  readonly bytes: Uint8Array;
}

/** An Ethernet segment without a network: what one station sends, every other that is up hears at once. */
export class SimulatedSegment {
  readonly sent: Sent[] = [];
  readonly #clock: Clock;
  readonly #stations = new Set<SimulatedStation>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  station(number: number): SimulatedStation {
    const station = new SimulatedStation(this, `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`);
    this.#stations.add(station);
    return station;
  }

  carry(from: SimulatedStation, { bytes, protocol }: OutgoingPacket): void {
    this.sent.push({ atMs: this.#clock.monotonicMs(), from: from.mac, protocol, bytes });
    for (const station of this.#stations) if (station !== from) station.hear(protocol, bytes, from.mac);
  }
}

/** One station's interface, as an L2Link sees it, and the kernel that answers for the addresses which it owns. */
export class SimulatedStation {
  readonly owned = new Set<string>();
  readonly #segment: SimulatedSegment;
  #options: TransportOptions | undefined;
  mac: string;
  up = true;
  present = true;
  index = 1;
  /** What `send` throws or returns in place of sending. */
  failure: (() => boolean) | undefined;
  watched: readonly string[] = [];

  constructor(segment: SimulatedSegment, mac: string) {
    this.#segment = segment;
    this.mac = mac;
  }

  readonly open: OpenTransport = (options) => {
    this.#options = options;
    const state = () => this.#state();
    const transport: LinkTransport = {
      get state() {
        return state();
      },
      send: (packet) => {
        if (this.failure !== undefined) return this.failure();
        if (!this.up || !this.present) return false;
        this.#segment.carry(this, packet);
        return true;
      },
      watch: (ips) => void (this.watched = ips),
      [Symbol.dispose]: () => void (this.#options = undefined),
    };
    return Promise.resolve(transport);
  };

  /** Changes the interface and tells the link. */
  change(change: {
    readonly up?: boolean;
    readonly present?: boolean;
    readonly mac?: string;
    readonly index?: number;
  }): void {
    Object.assign(this, change);
    this.#options?.onState(this.#state());
  }

  /** As if the packet came from the wire. */
  hear(protocol: L2Protocol, bytes: Uint8Array, from: string): void {
    if (!this.up || !this.present) return;
    const sighting = readSighting(protocol, bytes, macBytes(from));
    if (sighting.ok && sighting.value?.kind === 'probe' && this.owned.has(sighting.value.ip)) {
      for (const answer of announcementPackets(sighting.value.ip, this.mac, false)) this.#segment.carry(this, answer);
    }
    this.#options?.onPacket(protocol, Buffer.from(bytes), Buffer.from(macBytes(from)));
  }

  #state(): ReturnType<() => LinkTransport['state']> {
    return this.present ? { index: this.index, mac: this.mac, up: this.up, isSuitable: true } : undefined;
  }
}
