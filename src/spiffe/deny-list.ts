import { z } from 'zod';
import { SpiffeError } from './errors.js';
import { readAgentId } from './mesh-ids.js';
import { SpiffeId } from './spiffe-id.js';
import type { TrustDomain } from './trust-domain.js';

/** Identities that no longer count, whatever their certificates and tokens say. */
export interface DenyListOptions {
  /** Serial numbers of X.509-SVIDs, hexadecimal. */
  readonly serialNumbers?: readonly string[] | undefined;
  /** Agents, workloads or other members of the trust domain. */
  readonly spiffeIds?: readonly (SpiffeId | string)[] | undefined;
  /** Node names: the node's agent, and every workload token issued to it. */
  readonly nodes?: readonly string[] | undefined;
}

/** Beyond this a deny list is no longer a list of exceptions: rotate the root instead. */
export const maxDenied = 10_000;

const serialNumber = z.string().regex(/^[0-9a-f]{1,40}$/);
const documentSchema = z.strictObject({
  serial_numbers: z.array(serialNumber).max(maxDenied),
  spiffe_ids: z.array(z.string().max(2048)).max(maxDenied),
  nodes: z.array(z.string().min(1).max(255)).max(maxDenied),
});

/** The deny list of one trust domain, as its bundle carries it. Immutable; lookups take constant time. */
export class DenyList {
  static readonly empty = new DenyList(new Set(), new Set(), new Set());
  readonly #serialNumbers: ReadonlySet<string>;
  readonly #spiffeIds: ReadonlySet<string>;
  readonly #nodes: ReadonlySet<string>;

  private constructor(serialNumbers: ReadonlySet<string>, spiffeIds: ReadonlySet<string>, nodes: ReadonlySet<string>) {
    this.#serialNumbers = serialNumbers;
    this.#spiffeIds = spiffeIds;
    this.#nodes = nodes;
    Object.freeze(this);
  }

  /** Throws `SPIFFE_BUNDLE_MALFORMED` for a serial number, SPIFFE ID or node that cannot be one of `trustDomain`. */
  static create(options: DenyListOptions, trustDomain: TrustDomain): DenyList {
    const document = {
      serial_numbers: (options.serialNumbers ?? []).map(normalSerialNumber),
      spiffe_ids: (options.spiffeIds ?? []).map(String),
      nodes: [...(options.nodes ?? [])],
    };
    return DenyList.parse(document, trustDomain);
  }

  /** The member `meshwright_denied` of a bundle document. Throws `SPIFFE_BUNDLE_MALFORMED`. */
  static parse(json: unknown, trustDomain: TrustDomain): DenyList {
    if (json === undefined) return DenyList.empty;
    const result = documentSchema.safeParse(json);
    if (!result.success) {
      const where = result.error.issues.slice(0, 5).map(({ path, message }) => `${path.join('.')}: ${message}`);
      throw malformed(where.join('; '));
    }
    const { serial_numbers, spiffe_ids, nodes } = result.data;
    for (const id of spiffe_ids) requireMember(id, trustDomain);
    return new DenyList(new Set(serial_numbers.map(normalSerialNumber)), new Set(spiffe_ids), new Set(nodes));
  }

  get size(): number {
    return this.#serialNumbers.size + this.#spiffeIds.size + this.#nodes.size;
  }

  get serialNumbers(): readonly string[] {
    return [...this.#serialNumbers];
  }

  get spiffeIds(): readonly string[] {
    return [...this.#spiffeIds];
  }

  get nodes(): readonly string[] {
    return [...this.#nodes];
  }

  /** Why this identity is denied, for logs; `undefined` when it is not. An agent's ID names its node by itself. */
  reasonFor(identity: {
    readonly spiffeId?: SpiffeId | undefined;
    readonly serialNumber?: string | undefined;
    readonly node?: string | undefined;
  }): string | undefined {
    if (this.size === 0) return undefined;
    const { spiffeId, serialNumber: serial } = identity;
    if (serial !== undefined && this.#serialNumbers.has(normalSerialNumber(serial)))
      return `serial number ${serial} is denied`;
    if (spiffeId !== undefined && this.#spiffeIds.has(spiffeId.toString())) return `${spiffeId.toString()} is denied`;
    const node = identity.node ?? (spiffeId === undefined ? undefined : readAgentId(spiffeId)?.node);
    if (node === undefined) return undefined;
    if (this.#nodes.has(node)) return `node ${node} is denied`;
    const agent = spiffeId === undefined ? undefined : `spiffe://${spiffeId.trustDomain.name}/agent/${node}`;
    return agent !== undefined && this.#spiffeIds.has(agent) ? `${agent} is denied` : undefined;
  }

  toJSON(): Readonly<Record<string, readonly string[]>> {
    return { serial_numbers: this.serialNumbers, spiffe_ids: this.spiffeIds, nodes: this.nodes };
  }
}

/** As certificates are read here: whole bytes in lower case, without leading zero bytes. */
function normalSerialNumber(text: string): string {
  const digits = text
    .replaceAll(':', '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');
  return digits.length % 2 === 0 ? digits : `0${digits}`;
}

function requireMember(text: string, trustDomain: TrustDomain): void {
  try {
    const id = SpiffeId.parse(text);
    if (id.memberOf(trustDomain) && id.path !== '') return;
  } catch (cause) {
    throw malformed('spiffe_ids holds something that is no SPIFFE ID', cause);
  }
  throw malformed(`spiffe_ids holds an ID that is not of ${trustDomain.name}, or has no path`);
}

function malformed(why: string, cause?: unknown): SpiffeError {
  return new SpiffeError('SPIFFE_BUNDLE_MALFORMED', `expected a deny list, but ${why}`, { cause });
}
