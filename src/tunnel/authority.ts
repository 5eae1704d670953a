import { formatSocketAddress, tryParseIp } from '../core/index.js';
import { TunnelError } from './errors.js';

/** Where a CONNECT wants to go, parsed. */
export interface TunnelTarget {
  readonly kind: 'ip' | 'name';
  /** A canonical IP address (IPv4-mapped IPv6 folded to IPv4), or a lower-case DNS name without a trailing dot. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** The canonical authority: `10.0.0.1:8080`, `[fd00::1]:8080` or `name:8080`. */
  readonly authority: string;
}

const shape = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:[\]@/?#\s]{1,253})):([1-9]\d{0,4})$/;
const label = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;

/**
 * Parses the authority of a CONNECT (RFC 9113 section 8.5): an address or a name, and always a port.
 *
 * Names whose last label could be read as a number (`1.2.3`, `0x7f.1`, `010.0.0.1`) are refused, since some resolvers
 * take them for addresses. Throws `TUNNEL_AUTHORITY_MALFORMED`.
 */
export function parseAuthority(text: string): TunnelTarget {
  const match = shape.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) throw malformed(text);
  const bracketed = match[1];
  const bare = match[2] ?? '';
  const ip = tryParseIp(bracketed ?? bare);
  if (ip !== undefined) {
    if (bracketed !== undefined && !bracketed.includes(':')) throw malformed(text);
    return Object.freeze({ kind: 'ip', host: ip, port, authority: formatSocketAddress({ ip, port }) });
  }
  const host = bare.toLowerCase();
  const labels = host.split('.');
  const last = labels.at(-1) ?? '';
  if (bracketed !== undefined || !labels.every((part) => label.test(part)) || /^(?:\d+|0x[0-9a-f]*)$/.test(last)) {
    throw malformed(text);
  }
  return Object.freeze({ kind: 'name', host, port, authority: `${host}:${String(port)}` });
}

function malformed(text: string): TunnelError {
  return new TunnelError(
    'TUNNEL_AUTHORITY_MALFORMED',
    `expected an authority such as 10.0.0.1:8080, [fd00::1]:8080 or name.example:8080, got ${JSON.stringify(text.slice(0, 100))}`,
  );
}
