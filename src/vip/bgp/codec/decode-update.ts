import { ipText } from '../../../internal/native/sockaddr.js';
import type { PathAttributes } from './attributes.js';
import { attributeTypes, familyOf } from './constants.js';
import type { BgpFamily } from './constants.js';
import { decodeAttributes } from './decode-attributes.js';
import type { AttributeContext, AttributeError, DecodedAttributes } from './decode-attributes.js';
import { accepted, asBuffer, refused } from './decoded.js';
import type { BgpDecoded, BgpRefusal } from './decoded.js';
import { notification } from './notification.js';
import { decodePrefixes } from './prefix.js';
import type { BgpPrefix } from './prefix.js';

/** UPDATE (RFC 4271 section 4.3, RFC 4760), errors handled as RFC 7606 has it. */
export interface BgpUpdate {
  readonly withdrawn: readonly BgpPrefix[];
  /** Empty where the attributes were so bad that the routes count as withdrawn. */
  readonly announced: readonly BgpPrefix[];
  readonly attributes: PathAttributes;
  /** The next hop of the IPv6 routes: global address, without a link-local one beside it. */
  readonly mpNextHop?: string | undefined;
  /** The peer has sent all of this family (RFC 4724 section 2). */
  readonly endOfRib?: BgpFamily | undefined;
  /** What was wrong and survived. */
  readonly errors: readonly AttributeError[];
}

/** Decodes the body of an UPDATE. */
export function decodeUpdate(bytes: Uint8Array, context: AttributeContext): BgpDecoded<BgpUpdate> {
  const body = asBuffer(bytes);
  const lengths = refused('update-lengths', notification(3, 1));
  if (body.length < 4) return lengths;
  const withdrawnEnd = 2 + body.readUInt16BE(0);
  if (withdrawnEnd + 2 > body.length) return lengths;
  const attributesEnd = withdrawnEnd + 2 + body.readUInt16BE(withdrawnEnd);
  if (attributesEnd > body.length) return lengths;

  const withdrawn4 = decodePrefixes(body.subarray(2, withdrawnEnd), 'ipv4');
  const announced4 = decodePrefixes(body.subarray(attributesEnd), 'ipv4');
  if (withdrawn4 === undefined || announced4 === undefined) return refused('update-prefix', notification(3, 10));
  const field = decodeAttributes(body.subarray(withdrawnEnd + 2, attributesEnd), context);
  if ('ok' in field) return field;
  const reach = decodeReach(field.mpReach);
  if ('ok' in reach) return reach;
  const unreach = decodeUnreach(field.mpUnreach);
  if ('ok' in unreach) return unreach;

  const announced = [...announced4, ...reach.prefixes];
  const withdrawn = [...withdrawn4, ...unreach.prefixes];
  const errors = [...field.errors, ...missing(field, announced4.length > 0, announced.length > 0, context)];
  const distrusted = errors.some(({ action }) => action === 'treat-as-withdraw');
  const endOfRib = endOfRibOf(body, field, unreach);
  return accepted({
    withdrawn: distrusted ? [...withdrawn, ...announced] : withdrawn,
    announced: distrusted ? [] : announced,
    attributes: field.attributes,
    errors,
    ...(reach.nextHop === undefined ? {} : { mpNextHop: reach.nextHop }),
    ...(endOfRib === undefined ? {} : { endOfRib }),
  });
}

interface Reach {
  readonly prefixes: readonly BgpPrefix[];
  readonly nextHop?: string | undefined;
}

interface Unreach {
  readonly prefixes: readonly BgpPrefix[];
  readonly family?: BgpFamily | undefined;
}

/** Next-hop lengths that RFC 4760 and RFC 2545 allow: IPv6 with or without a link-local address beside the global one. */
const nextHopLengths: Readonly<Record<BgpFamily, readonly number[]>> = { ipv4: [4], ipv6: [16, 32] };

function decodeReach(value: Buffer | undefined): Reach | BgpRefusal {
  if (value === undefined) return { prefixes: [] };
  const malformed = refused('update-mp-reach', notification(3, 9, Uint8Array.from(value)));
  const nextHopEnd = 4 + (value[3] ?? 0);
  // A reserved octet follows the next hop.
  if (value.length < 5 || nextHopEnd + 1 > value.length) return malformed;
  const family = familyOf(value.readUInt16BE(0), value[2] ?? 0);
  // Of a family that was not asked for nothing is taken, however it looks.
  if (family === undefined) return { prefixes: [] };
  if (!nextHopLengths[family].includes(nextHopEnd - 4)) return malformed;
  const prefixes = decodePrefixes(value.subarray(nextHopEnd + 1), family);
  if (prefixes === undefined) return malformed;
  return { prefixes, nextHop: ipText(value.subarray(4, family === 'ipv4' ? 8 : 20)) };
}

function decodeUnreach(value: Buffer | undefined): Unreach | BgpRefusal {
  if (value === undefined) return { prefixes: [] };
  const malformed = refused('update-mp-unreach', notification(3, 9, Uint8Array.from(value)));
  if (value.length < 3) return malformed;
  const family = familyOf(value.readUInt16BE(0), value[2] ?? 0);
  if (family === undefined) return { prefixes: [] };
  const prefixes = decodePrefixes(value.subarray(3), family);
  return prefixes === undefined ? malformed : { prefixes, family };
}

/** RFC 7606 section 3 d: a route without one of these is no route. */
function missing(
  field: DecodedAttributes,
  announcesIpv4: boolean,
  announces: boolean,
  context: AttributeContext,
): readonly AttributeError[] {
  if (!announces) return [];
  const needed: number[] = [attributeTypes.origin, attributeTypes.asPath];
  if (announcesIpv4) needed.push(attributeTypes.nextHop);
  if (context.internal) needed.push(attributeTypes.localPreference);
  return needed.every((type) => field.present.has(type))
    ? []
    : [{ fault: 'attribute-missing', action: 'treat-as-withdraw' }];
}

function endOfRibOf(body: Buffer, field: DecodedAttributes, unreach: Unreach): BgpFamily | undefined {
  if (body.length === 4) return 'ipv4';
  const onlyUnreach = field.present.size === 1 && field.errors.length === 0;
  const bare = body.readUInt16BE(0) === 0 && field.mpUnreach?.length === 3 && body.length <= 4 + 4 + 3;
  return onlyUnreach && bare ? unreach.family : undefined;
}
