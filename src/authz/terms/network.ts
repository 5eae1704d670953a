/** Terms about addresses, ports and server names. */
import type { Dimension, Key } from '../dimension.js';
import type { Facts } from '../facts.js';
import { IpBlockMatcher } from '../ip-match.js';
import { StringMatcher } from '../string-match.js';
import { no, unknown, yes } from '../tri.js';
import type { TermValue } from '../tri.js';
import { Term } from './term.js';

export type IpRole = 'source' | 'remote' | 'destination';

/** IP blocks over one of the request's addresses. An address that does not parse leaves it open. */
export class IpBlocksTerm extends Term {
  readonly #matcher: IpBlockMatcher;
  readonly #role: IpRole;

  constructor(field: string, values: readonly string[], negated: boolean, role: IpRole) {
    super(field, values, negated);
    this.#matcher = new IpBlockMatcher(values);
    this.#role = role;
  }

  protected override holds(facts: Facts): TermValue {
    const ip = facts.ip(this.#role);
    if (ip === undefined) return unknown;
    return ip !== null && this.#matcher.test(ip) ? yes : no;
  }

  override actual({ request }: Facts): string | undefined {
    const { source, destination } = request;
    return this.#role === 'source'
      ? source.ip
      : this.#role === 'remote'
        ? (source.remoteIp ?? source.ip)
        : destination.ip;
  }

  protected override single(value: string): Term {
    return new IpBlocksTerm(this.field, [value], false, this.#role);
  }
}

/** Destination ports, written as decimal text. */
export class PortsTerm extends Term {
  readonly #ports: readonly number[];

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#ports = values.map(Number);
  }

  protected override holds({ port }: Facts): TermValue {
    // Every connection has a port; a request that does not say which leaves it open.
    if (port === undefined) return unknown;
    return this.#ports.includes(port) ? yes : no;
  }

  override actual({ port }: Facts): string | undefined {
    return port === undefined ? undefined : String(port);
  }

  override keys(dimension: Dimension): readonly Key[] | undefined {
    return dimension === 'port' ? this.#ports : undefined;
  }

  protected override single(value: string): Term {
    return new PortsTerm(this.field, [value], false);
  }
}

/** The server name of the TLS handshake. */
export class SniTerm extends Term {
  readonly #matcher: StringMatcher;

  constructor(field: string, values: readonly string[], negated: boolean) {
    super(field, values, negated);
    this.#matcher = new StringMatcher(values);
  }

  protected override holds({ request }: Facts): TermValue {
    const { sni } = request.destination;
    return sni !== undefined && this.#matcher.test(sni) ? yes : no;
  }

  override actual({ request }: Facts): string | undefined {
    return request.destination.sni;
  }

  protected override single(value: string): Term {
    return new SniTerm(this.field, [value], false);
  }
}
