import { ipText } from '../../../internal/native/sockaddr.js';
import { decodeAsPath } from './as-path.js';
import type { LargeCommunity, PathAttributes } from './attributes.js';
import { attributeFlags, attributeTypes } from './constants.js';
import type { BgpAttributeFault, BgpRefusal } from './decoded.js';
import { refused } from './decoded.js';
import { notification } from './notification.js';

/** What the session has settled about attributes. */
export interface AttributeContext {
  /** AS numbers of four octets in AS_PATH and AGGREGATOR: both sides announced the capability. */
  readonly fourOctetAs: boolean;
  /** Both sides have one AS. */
  readonly internal: boolean;
}

/** A fault in an attribute, and what RFC 7606 has done about it. */
export interface AttributeError {
  readonly fault: BgpAttributeFault;
  readonly action: 'treat-as-withdraw' | 'attribute-discard';
}

/** The attributes of an UPDATE as far as they are good, and what was wrong with the others. */
export interface DecodedAttributes {
  readonly attributes: PathAttributes;
  /** Which types were there, good or not. */
  readonly present: ReadonlySet<number>;
  readonly mpReach: Buffer | undefined;
  readonly mpUnreach: Buffer | undefined;
  readonly errors: readonly AttributeError[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What one known attribute is: its flags, what happens when it is malformed, and how it is read (false: malformed). */
interface AttributeRule {
  readonly flags: number;
  readonly fault: BgpAttributeFault;
  readonly action: AttributeError['action'];
  /** Meaningless from another AS, and then passed over unread. */
  readonly internalOnly?: boolean;
  read(value: Buffer, into: Mutable<PathAttributes>, context: AttributeContext): boolean;
}

const wellKnown = attributeFlags.transitive;
const optional = attributeFlags.optional;
const optionalTransitive = attributeFlags.optional | attributeFlags.transitive;

const rules: Readonly<Record<number, AttributeRule>> = Object.freeze({
  [attributeTypes.origin]: rule(wellKnown, 'origin', 'treat-as-withdraw', (value, into) => {
    const origin = (['igp', 'egp', 'incomplete'] as const)[value[0] ?? 3];
    if (value.length !== 1 || origin === undefined) return false;
    into.origin = origin;
    return true;
  }),
  [attributeTypes.asPath]: rule(wellKnown, 'as-path', 'treat-as-withdraw', (value, into, context) => {
    const path = decodeAsPath(value, context.fourOctetAs ? 4 : 2);
    if (path === undefined) return false;
    into.asPath = path;
    return true;
  }),
  [attributeTypes.nextHop]: rule(wellKnown, 'next-hop', 'treat-as-withdraw', (value, into) => {
    if (value.length !== 4 || !isUsableNextHop(value)) return false;
    into.nextHop = ipText(value);
    return true;
  }),
  [attributeTypes.med]: rule(optional, 'med', 'treat-as-withdraw', (value, into) => {
    if (value.length !== 4) return false;
    into.med = value.readUInt32BE(0);
    return true;
  }),
  [attributeTypes.localPreference]: {
    ...rule(wellKnown, 'local-preference', 'treat-as-withdraw', (value, into) => {
      if (value.length !== 4) return false;
      into.localPreference = value.readUInt32BE(0);
      return true;
    }),
    internalOnly: true,
  },
  [attributeTypes.atomicAggregate]: rule(
    wellKnown,
    'atomic-aggregate',
    'attribute-discard',
    ({ length }) => length === 0,
  ),
  [attributeTypes.aggregator]: rule(
    optionalTransitive,
    'aggregator',
    'attribute-discard',
    (value, _into, context) => value.length === (context.fourOctetAs ? 8 : 6),
  ),
  [attributeTypes.communities]: rule(optionalTransitive, 'communities', 'treat-as-withdraw', (value, into) => {
    if (!isMultiple(value, 4)) return false;
    into.communities = words(value);
    return true;
  }),
  [attributeTypes.originatorId]: {
    ...rule(optional, 'originator-id', 'treat-as-withdraw', (value) => value.length === 4),
    internalOnly: true,
  },
  [attributeTypes.clusterList]: {
    ...rule(optional, 'cluster-list', 'treat-as-withdraw', (value) => isMultiple(value, 4)),
    internalOnly: true,
  },
  [attributeTypes.extendedCommunities]: rule(optionalTransitive, 'extended-communities', 'treat-as-withdraw', (value) =>
    isMultiple(value, 8),
  ),
  [attributeTypes.as4Path]: rule(optionalTransitive, 'as4-path', 'attribute-discard', (value, _into, context) => {
    // Between two speakers of four octets it has no business, and is dropped unread (RFC 6793 section 6).
    if (context.fourOctetAs) return true;
    return decodeAsPath(value, 4) !== undefined;
  }),
  [attributeTypes.as4Aggregator]: rule(
    optionalTransitive,
    'as4-aggregator',
    'attribute-discard',
    (value) => value.length === 8,
  ),
  [attributeTypes.largeCommunities]: rule(
    optionalTransitive,
    'large-communities',
    'treat-as-withdraw',
    (value, into) => {
      if (!isMultiple(value, 12)) return false;
      const all = words(value);
      into.largeCommunities = Array.from({ length: all.length / 3 }, (_, index): LargeCommunity => [
        all[3 * index] ?? 0,
        all[3 * index + 1] ?? 0,
        all[3 * index + 2] ?? 0,
      ]);
      return true;
    },
  ),
});

function rule(
  flags: number,
  fault: BgpAttributeFault,
  action: AttributeError['action'],
  read: AttributeRule['read'],
): AttributeRule {
  return { flags, fault, action, read };
}

/**
 * Reads the attribute field of an UPDATE. Only what RFC 7606 names ends the session: an MP attribute given twice, or a
 * well-known attribute that nobody knows. Everything else costs the routes (`treat-as-withdraw`) or the attribute.
 */
export function decodeAttributes(field: Buffer, context: AttributeContext): DecodedAttributes | BgpRefusal {
  const attributes: Mutable<PathAttributes> = { origin: 'incomplete', asPath: [] };
  const errors: AttributeError[] = [];
  const seen = new Set<number>();
  let mpReach: Buffer | undefined;
  let mpUnreach: Buffer | undefined;
  for (let at = 0; at < field.length;) {
    const flags = field[at] ?? 0;
    const type = field[at + 1] ?? 0;
    const headLength = (flags & attributeFlags.extendedLength) === 0 ? 3 : 4;
    const head = field.subarray(at, at + headLength);
    const length = head.length < headLength ? Number.NaN : headLength === 3 ? (head[2] ?? 0) : head.readUInt16BE(2);
    const end = at + headLength + length;
    // RFC 7606 section 4: what is left cannot be told apart, and the routes cannot be trusted.
    if (!(end <= field.length)) {
      errors.push({ fault: 'attribute-list-overrun', action: 'treat-as-withdraw' });
      break;
    }
    const value = field.subarray(at + headLength, end);
    const whole = field.subarray(at, end);
    at = end;
    const isMp = type === attributeTypes.mpReach || type === attributeTypes.mpUnreach;
    if (seen.has(type)) {
      if (isMp) return refused('update-attribute-repeated', notification(3, 1));
      errors.push({ fault: 'attribute-repeated', action: 'attribute-discard' });
      continue;
    }
    seen.add(type);
    const category = flags & optionalTransitive;
    if (isMp) {
      if (category !== optional) errors.push({ fault: 'attribute-flags', action: 'treat-as-withdraw' });
      if (type === attributeTypes.mpReach) mpReach = value;
      else mpUnreach = value;
      continue;
    }
    const known = rules[type];
    if (known === undefined) {
      if ((flags & attributeFlags.optional) === 0) {
        return refused('update-attribute-unknown', notification(3, 2, Uint8Array.from(whole)));
      }
      continue;
    }
    if (known.internalOnly === true && !context.internal) continue;
    if (category !== known.flags) errors.push({ fault: 'attribute-flags', action: known.action });
    else if (!known.read(value, attributes, context)) errors.push({ fault: known.fault, action: known.action });
  }
  return { attributes, present: seen, mpReach, mpUnreach, errors };
}

function isMultiple(value: Buffer, unit: number): boolean {
  return value.length > 0 && value.length % unit === 0;
}

function words(value: Buffer): number[] {
  return Array.from({ length: value.length >> 2 }, (_, index) => value.readUInt32BE(4 * index));
}

/** RFC 4271 section 6.3: an address that can be a host's; not 0/8, 127/8, or multicast and above. */
function isUsableNextHop(value: Buffer): boolean {
  const first = value[0] ?? 0;
  return first !== 0 && first !== 127 && first < 224;
}
