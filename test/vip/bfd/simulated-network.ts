/** A link between two engines, as lossy, slow and disorderly as a test wants it; time is a fake clock's. */
import type { Clock, Random } from 'meshwright/core';
import type { BfdNetwork, BfdDatagram } from '../../../src/vip/bfd/network.js';
import type { BfdSettings, BfdTransport } from '../../../src/vip/bfd/settings.js';

export interface SentDatagram {
  readonly atMs: number;
  readonly bytes: Uint8Array;
  readonly transport: BfdTransport;
  readonly from: string;
}

/** What becomes of a datagram: how many ms it takes, or undefined when it is lost. Twice for a duplicate. */
export type Weather = (datagram: SentDatagram) => readonly number[];

export class SimulatedLink {
  readonly sent: SentDatagram[] = [];
  weather: Weather = () => [1];
  /** Errors that `open` and `send` throw, by local address. */
  readonly openErrors = new Map<string, Error>();
  readonly sendErrors = new Map<string, Error>();
  ttl = 255;
  readonly #clock: Clock;
  readonly #receivers = new Map<string, (datagram: BfdDatagram) => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The network of one machine; it hears what is sent to any address that it has opened. */
  side(): (onDatagram: (datagram: BfdDatagram) => void) => BfdNetwork {
    return (onDatagram) => ({
      open: (settings: BfdSettings) => {
        const refusal = this.openErrors.get(settings.local);
        if (refusal !== undefined) throw refusal;
        this.#receivers.set(settings.local, onDatagram);
        return {
          interfaceIndex: settings.interfaceName === undefined ? undefined : 2,
          send: (bytes, transport) => this.#send(bytes, transport, settings),
          close: () => undefined,
        };
      },
      drain: () => undefined,
      takeFiltered: () => 0,
      close: () => undefined,
    });
  }

  /** Something that arrives at `local` now. */
  deliver(local: string, datagram: Partial<BfdDatagram> & Pick<BfdDatagram, 'bytes' | 'source'>): void {
    this.#receivers.get(local)?.({ transport: 'single-hop', local, ttl: this.ttl, interfaceIndex: 2, ...datagram });
  }

  #send(bytes: Uint8Array, transport: BfdTransport, settings: BfdSettings): void {
    const refusal = this.sendErrors.get(settings.local);
    if (refusal !== undefined) throw refusal;
    const datagram = { atMs: this.#clock.monotonicMs(), bytes, transport, from: settings.local };
    this.sent.push(datagram);
    for (const delayMs of this.weather(datagram)) {
      this.#clock.timer(delayMs, () => this.deliver(settings.peer, { bytes, source: settings.local, transport }));
    }
  }
}

/** Repeatable randomness. */
export function seededRandom(fraction: () => number): Random {
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(fraction() * 256)) };
}
