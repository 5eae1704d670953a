/**
 * Name constraints of signing certificates (RFC 5280 section 4.2.1.10, SPIFFE X509-SVID section 4.2), as far as they can
 * concern a SPIFFE ID: those on URI names, which speak of the host, and so of the trust domain. Constraints on any other
 * form of name are not evaluated; a certificate that has some is refused.
 */
import { tryParseIp } from '../core/index.js';
import { derTag } from '../internal/der/values.js';
import type { DerReader } from '../internal/der/reader.js';

/** Hosts (`cluster.local`), and domains whose hosts are meant (`.corp.example`); in lower case. */
export interface NameConstraints {
  /** None: every host that is not excluded. */
  readonly permitted: readonly string[];
  readonly excluded: readonly string[];
}

/** At most so many of each list: the issuer chooses them, and every name below is compared with all. */
const maxSubtrees = 256;
const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
const host = new RegExp(`^${label}(?:\\.${label})*$`);
const maxHostLength = 253;

/** Of the contents of the extension. Undefined when something in it cannot be evaluated here; throws for what is no DER of it. */
export function readNameConstraints(fields: DerReader): NameConstraints | undefined {
  const permitted = fields.nextTag === 0xa0 ? readSubtrees(fields.enter(0xa0)) : [];
  const excluded = fields.nextTag === 0xa1 ? readSubtrees(fields.enter(0xa1)) : [];
  fields.end();
  if (permitted === undefined || excluded === undefined) return undefined;
  // Empty ones may not be issued, so nobody knows what was meant.
  return permitted.length + excluded.length === 0 ? undefined : Object.freeze({ permitted, excluded });
}

function readSubtrees(list: DerReader): readonly string[] | undefined {
  const hosts: string[] = [];
  let understood = !list.atEnd;
  while (!list.atEnd) {
    const subtree = list.enter(derTag.sequence);
    const base = subtree.read();
    const text = Buffer.from(base.contents).toString('latin1').toLowerCase();
    // [6] IMPLICIT IA5String; minimum and maximum are for nothing that RFC 5280 allows.
    understood &&= base.tag === 0x86 && subtree.atEnd && isHost(text.replace(/^\./, '')) && hosts.length < maxSubtrees;
    if (understood) hosts.push(text);
    while (!subtree.atEnd) subtree.read();
  }
  return understood ? hosts : undefined;
}

/** Why a SPIFFE ID of `trustDomain` may not be below a certificate with these constraints; undefined when it may. */
export function nameConstraintDefect(
  { permitted, excluded }: NameConstraints,
  trustDomain: string,
): string | undefined {
  const name = trustDomain.toLowerCase();
  if (!isHost(name)) return `${trustDomain} is no host name, so no name constraint can be shown to permit it`;
  const excluding = excluded.find((constraint) => covers(constraint, name));
  if (excluding !== undefined) return `${trustDomain} is excluded by ${excluding}`;
  if (permitted.length === 0 || permitted.some((constraint) => covers(constraint, name))) return undefined;
  return `${trustDomain} is not among what is permitted: ${permitted.slice(0, 5).join(', ')}`;
}

/** A constraint that begins with a period is for one or more labels before it, any other for that very host. */
function covers(constraint: string, name: string): boolean {
  return constraint.startsWith('.') ? name.endsWith(constraint) : name === constraint;
}

/** A DNS name; not an IP address, for which there are no constraints on URI names. */
function isHost(text: string): boolean {
  return text.length <= maxHostLength && host.test(text) && tryParseIp(text) === undefined;
}
