import { ipBytes } from '../../../core/index.js';
import { encodeAsPath } from './as-path.js';
import { originCodes } from './attributes.js';
import type { PathAttributes } from './attributes.js';
import {
  afiOf,
  asTrans,
  attributeFlags,
  attributeTypes,
  headerBytes,
  maxMessageBytes,
  messageTypes,
  safiUnicast,
} from './constants.js';
import type { BgpFamily } from './constants.js';
import { encodeMessage } from './framing.js';
import { encodePrefix, prefixBytes } from './prefix.js';
import type { BgpPrefix } from './prefix.js';

/** UPDATE messages for many routes: as few as the 4096 bytes of a message allow. */

export interface UpdateEncoding {
  /** The peer reads AS numbers of four octets. */
  readonly fourOctetAs: boolean;
}

/** Announces `prefixes`, all of one family and with the same attributes. `nextHop` is of that family. */
export function encodeAnnouncements(
  prefixes: readonly BgpPrefix[],
  family: BgpFamily,
  attributes: Omit<PathAttributes, 'nextHop'>,
  nextHop: string,
  encoding: UpdateEncoding,
): readonly Buffer[] {
  const common = encodeAttributes({ ...attributes, ...(family === 'ipv4' ? { nextHop } : {}) }, encoding);
  if (family === 'ipv4') {
    return batches(prefixes, maxMessageBytes - headerBytes - 4 - common.length).map((batch) =>
      encodeMessage(messageTypes.update, Buffer.alloc(2), uint16(common.length), common, batch),
    );
  }
  const head = Buffer.concat([Buffer.from([0, afiOf[family], safiUnicast, 16]), ipBytes(nextHop), Buffer.alloc(1)]);
  const room = maxMessageBytes - headerBytes - 4 - common.length - 4 - head.length;
  return batches(prefixes, room).map((batch) => {
    // MP_REACH first (RFC 7606 section 5.1): a receiver finds the routes even when a later attribute is broken.
    const reach = attribute(attributeFlags.optional, attributeTypes.mpReach, Buffer.concat([head, batch]));
    return encodeMessage(messageTypes.update, Buffer.alloc(2), uint16(reach.length + common.length), reach, common);
  });
}

/** Withdraws `prefixes`, all of one family. */
export function encodeWithdrawals(prefixes: readonly BgpPrefix[], family: BgpFamily): readonly Buffer[] {
  if (family === 'ipv4') {
    return batches(prefixes, maxMessageBytes - headerBytes - 4).map((batch) =>
      encodeMessage(messageTypes.update, uint16(batch.length), batch, Buffer.alloc(2)),
    );
  }
  return batches(prefixes, maxMessageBytes - headerBytes - 4 - 4 - 3).map((batch) => encodeUnreach(family, batch));
}

/** "That was all of this family" (RFC 4724 section 2). */
export function encodeEndOfRib(family: BgpFamily): Buffer {
  return family === 'ipv4'
    ? encodeMessage(messageTypes.update, Buffer.alloc(4))
    : encodeUnreach(family, Buffer.alloc(0));
}

function encodeUnreach(family: BgpFamily, batch: Buffer): Buffer {
  const value = Buffer.concat([Buffer.from([0, afiOf[family], safiUnicast]), batch]);
  const unreach = attribute(attributeFlags.optional, attributeTypes.mpUnreach, value);
  return encodeMessage(messageTypes.update, Buffer.alloc(2), uint16(unreach.length), unreach);
}

/** The attribute field, in the order of the type codes. */
export function encodeAttributes(from: PathAttributes, encoding: UpdateEncoding): Buffer {
  const { transitive, optional } = attributeFlags;
  const parts = [attribute(transitive, attributeTypes.origin, Buffer.from([originCodes[from.origin]]))];
  const width = encoding.fourOctetAs ? 4 : 2;
  const wide = from.asPath.some(({ asns }) => asns.some((asn) => asn > 0xffff));
  const shown =
    width === 4
      ? from.asPath
      : from.asPath.map(({ type, asns }) => ({ type, asns: asns.map((asn) => (asn > 0xffff ? asTrans : asn)) }));
  parts.push(attribute(transitive, attributeTypes.asPath, encodeAsPath(shown, width)));
  if (from.nextHop !== undefined)
    parts.push(attribute(transitive, attributeTypes.nextHop, Buffer.from(ipBytes(from.nextHop))));
  if (from.med !== undefined) parts.push(attribute(optional, attributeTypes.med, uint32s([from.med])));
  if (from.localPreference !== undefined) {
    parts.push(attribute(transitive, attributeTypes.localPreference, uint32s([from.localPreference])));
  }
  if (from.communities !== undefined && from.communities.length > 0) {
    parts.push(attribute(optional | transitive, attributeTypes.communities, uint32s(from.communities)));
  }
  if (width === 2 && wide) {
    parts.push(attribute(optional | transitive, attributeTypes.as4Path, encodeAsPath(from.asPath, 4)));
  }
  if (from.largeCommunities !== undefined && from.largeCommunities.length > 0) {
    parts.push(
      attribute(optional | transitive, attributeTypes.largeCommunities, uint32s(from.largeCommunities.flat())),
    );
  }
  return Buffer.concat(parts);
}

function attribute(flags: number, type: number, value: Buffer): Buffer {
  const head =
    value.length > 255
      ? [flags | attributeFlags.extendedLength, type, value.length >> 8, value.length & 0xff]
      : [flags, type, value.length];
  return Buffer.concat([Buffer.from(head), value]);
}

/** The encoded prefixes, cut into pieces of at most `room` bytes. */
function batches(prefixes: readonly BgpPrefix[], room: number): readonly Buffer[] {
  const out: Buffer[] = [];
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const prefix of prefixes) {
    if (bytes + prefixBytes(prefix) > room && batch.length > 0) {
      out.push(Buffer.concat(batch));
      batch = [];
      bytes = 0;
    }
    batch.push(encodePrefix(prefix));
    bytes += prefixBytes(prefix);
  }
  if (batch.length > 0) out.push(Buffer.concat(batch));
  return out;
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function uint32s(values: readonly number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => out.writeUInt32BE(value, 4 * index));
  return out;
}
