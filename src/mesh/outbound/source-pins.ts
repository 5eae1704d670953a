/**
 * Which of this node's workloads are pinned to their interface. The interception plan ties a pod's addresses to its
 * host-side interface in the kernel; here is remembered which interface, by index, that was. An interface that is removed
 * or made anew invalidates its workload until a newer snapshot confirms it: a recycled address must not inherit an identity.
 */
import type { Workload } from '../resources.js';
import { resourceKey } from '../mesh-index.js';

/** A host-side interface: the index tells a new one of the same name from the old one. */
export interface HostInterface {
  readonly name: string;
  readonly index: number;
}

interface Pin {
  readonly hostInterface: HostInterface;
  /** What the kernel ties to the interface: a pod of the same name made anew has other ones. */
  readonly addresses: ReadonlySet<string>;
  valid: boolean;
}

export class SourcePins {
  #pins: ReadonlyMap<string, Pin> = new Map();

  /** Replaces all pins, as found for a new snapshot. Workloads that are not in `found` are unpinned. */
  replace(found: ReadonlyMap<Workload, HostInterface>): void {
    this.#pins = new Map(
      [...found].map(([workload, hostInterface]) => [
        resourceKey(workload),
        { hostInterface, addresses: new Set(workload.addresses), valid: true },
      ]),
    );
  }

  /** An interface went away or came anew; returns the keys of the workloads that are unpinned by that. */
  interfaceChanged(change: {
    readonly name: string;
    readonly index: number;
    readonly removed: boolean;
  }): readonly string[] {
    const lost: string[] = [];
    for (const [key, pin] of this.#pins) {
      const sameName = pin.hostInterface.name === change.name;
      const sameIndex = pin.hostInterface.index === change.index;
      if (!pin.valid || (!sameName && !sameIndex)) continue;
      if (sameName && sameIndex && !change.removed) continue;
      pin.valid = false;
      lost.push(key);
    }
    return lost;
  }

  /** Whether every address of this workload is pinned now. */
  isPinned(workload: Workload): boolean {
    const pin = this.#pins.get(resourceKey(workload));
    return pin?.valid === true && workload.addresses.every((address) => pin.addresses.has(address));
  }

  /** `namespace/name` -> interface, of the pins that hold; for the interception plan and for status. */
  get valid(): ReadonlyMap<string, HostInterface> {
    return new Map([...this.#pins].filter(([, pin]) => pin.valid).map(([key, pin]) => [key, pin.hostInterface]));
  }
}
