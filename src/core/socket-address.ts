import { CoreError } from './errors.js';
import { parseIp, tryParseIp } from './ip-address.js';

/** An IP address and a TCP port; `ip` is canonical (see `parseIp`). Compare by `formatSocketAddress`. */
export interface SocketAddress {
  readonly ip: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** Builds one from parts. Throws `CORE_ADDRESS_MALFORMED`. */
export function socketAddress(ip: string, port: number): SocketAddress {
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new CoreError('CORE_ADDRESS_MALFORMED', `expected a port from 1 to 65535, got ${String(port)}`);
  }
  return Object.freeze({ ip: parseIp(ip), port });
}

/** Parses `10.0.0.1:80` or `[fd00::1]:80`; the port is required. Throws `CORE_ADDRESS_MALFORMED`. */
export function parseSocketAddress(text: string): SocketAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([1-9]\d{0,4})$/.exec(text);
  const ip = match === null ? undefined : tryParseIp(match[1] ?? match[2] ?? '');
  const bracketed = match?.[1] !== undefined;
  const port = Number(match?.[3]);
  // An IPv4 address in brackets is not a valid authority (RFC 3986 section 3.2.2).
  if (ip === undefined || port > 65535 || (bracketed && !(match?.[1] ?? '').includes(':'))) {
    throw new CoreError(
      'CORE_ADDRESS_MALFORMED',
      `expected IP:port such as 10.0.0.1:80 or [fd00::1]:80, got ${JSON.stringify(text.slice(0, 100))}`,
    );
  }
  return Object.freeze({ ip, port });
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function formatSocketAddress(address: SocketAddress): string {
  return address.ip.includes(':') ? `[${address.ip}]:${String(address.port)}` : `${address.ip}:${String(address.port)}`;
}
