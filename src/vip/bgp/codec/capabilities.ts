import { afiOf, capabilityCodes, familyOf, safiUnicast } from './constants.js';
import type { BgpFamily } from './constants.js';

/** Graceful restart as announced in OPEN (RFC 4724 section 3). */
export interface GracefulRestartCapability {
  /** R: the sender has restarted, and the peer should not wait for its End-of-RIB. */
  readonly restarting: boolean;
  /** How long the peer keeps the routes while the session is down: 0 to 4095. */
  readonly restartTimeSeconds: number;
  /** The families whose routes are to be kept, and whether forwarding went on through the restart (F). */
  readonly families: readonly { readonly family: BgpFamily; readonly forwardingPreserved: boolean }[];
}

export interface BgpCapabilities {
  /** Families of the multiprotocol capability; of a peer without it, `ipv4` (RFC 4760 section 8). */
  readonly families: readonly BgpFamily[];
  readonly fourOctetAs?: number | undefined;
  readonly routeRefresh: boolean;
  readonly gracefulRestart?: GracefulRestartCapability | undefined;
}

interface Found {
  families: BgpFamily[];
  hasMultiprotocol: boolean;
  fourOctetAs: number | undefined;
  routeRefresh: boolean;
  gracefulRestart: GracefulRestartCapability | undefined;
}

/** Gathers the capabilities of an OPEN, which may come in several optional parameters. */
export class CapabilityReader {
  readonly #found: Found = {
    families: [],
    hasMultiprotocol: false,
    fourOctetAs: undefined,
    routeRefresh: false,
    gracefulRestart: undefined,
  };

  /** Reads one parameter's value; false when its lengths do not add up. Unknown capabilities are passed over. */
  read(value: Buffer): boolean {
    for (let at = 0; at < value.length;) {
      const length = value[at + 1];
      if (length === undefined || at + 2 + length > value.length) return false;
      if (!this.#readOne(value[at] ?? 0, value.subarray(at + 2, at + 2 + length))) return false;
      at += 2 + length;
    }
    return true;
  }

  get result(): BgpCapabilities {
    const { families, hasMultiprotocol, fourOctetAs, routeRefresh, gracefulRestart } = this.#found;
    return {
      families: hasMultiprotocol ? families : ['ipv4'],
      routeRefresh,
      ...(fourOctetAs === undefined ? {} : { fourOctetAs }),
      ...(gracefulRestart === undefined ? {} : { gracefulRestart }),
    };
  }

  #readOne(code: number, value: Buffer): boolean {
    switch (code) {
      case capabilityCodes.multiprotocol: {
        if (value.length !== 4) return false;
        const family = familyOf(value.readUInt16BE(0), value[3] ?? 0);
        this.#found.hasMultiprotocol = true;
        if (family !== undefined && !this.#found.families.includes(family)) this.#found.families.push(family);
        return true;
      }
      case capabilityCodes.routeRefresh:
        if (value.length !== 0) return false;
        this.#found.routeRefresh = true;
        return true;
      case capabilityCodes.fourOctetAs:
        if (value.length !== 4) return false;
        this.#found.fourOctetAs = value.readUInt32BE(0);
        return true;
      case capabilityCodes.gracefulRestart:
        if (value.length < 2 || (value.length - 2) % 4 !== 0) return false;
        // A later one replaces an earlier one (RFC 4724 section 3).
        this.#found.gracefulRestart = readGracefulRestart(value);
        return true;
      default:
        return true;
    }
  }
}

function readGracefulRestart(value: Buffer): GracefulRestartCapability {
  const first = value.readUInt16BE(0);
  const families: { family: BgpFamily; forwardingPreserved: boolean }[] = [];
  for (let at = 2; at + 4 <= value.length; at += 4) {
    const family = familyOf(value.readUInt16BE(at), value[at + 2] ?? 0);
    if (family !== undefined) families.push({ family, forwardingPreserved: ((value[at + 3] ?? 0) & 0x80) !== 0 });
  }
  return { restarting: (first & 0x8000) !== 0, restartTimeSeconds: first & 0x0fff, families };
}

/** All capabilities, one after the other, for one optional parameter. */
export function encodeCapabilities(from: BgpCapabilities): Buffer {
  const parts = from.families.map((family) =>
    capability(capabilityCodes.multiprotocol, [0, afiOf[family], 0, safiUnicast]),
  );
  if (from.routeRefresh) parts.push(capability(capabilityCodes.routeRefresh, []));
  if (from.gracefulRestart !== undefined) {
    const { restarting, restartTimeSeconds, families } = from.gracefulRestart;
    const first = (restarting ? 0x8000 : 0) | restartTimeSeconds;
    const tail = families.flatMap(({ family, forwardingPreserved }) => [
      ...[0, afiOf[family], safiUnicast, forwardingPreserved ? 0x80 : 0],
    ]);
    parts.push(capability(capabilityCodes.gracefulRestart, [first >> 8, first & 0xff, ...tail]));
  }
  if (from.fourOctetAs !== undefined) {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(from.fourOctetAs);
    parts.push(capability(capabilityCodes.fourOctetAs, [...value]));
  }
  return Buffer.concat(parts);
}

function capability(code: number, value: readonly number[]): Buffer {
  return Buffer.from([code, value.length, ...value]);
}
