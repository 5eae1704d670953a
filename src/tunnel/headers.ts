import type { IncomingHttpHeaders } from 'node:http2';
import { TunnelError } from './errors.js';

/** Regular header fields by lower-case name; repeated ones are joined with `, `. Nothing in them is identity. */
export type TunnelHeaders = Readonly<Record<string, string>>;

/** The regular fields of a received header block; pseudo-headers are left out. */
export function receivedHeaders(block: IncomingHttpHeaders): TunnelHeaders {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(block)) {
    if (name.startsWith(':') || value === undefined) continue;
    headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return Object.freeze(headers);
}

const fieldName = /^[a-z0-9!#$%&'*+.^_`|~-]{1,256}$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Connection-specific fields have no place in HTTP/2 (RFC 9113 section 8.2.2). */
const forbidden = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'host',
]);

/** Checks headers that a caller wants to send. The values stay out of the message: one of them is a token. */
export function checkedHeaders(given: Readonly<Record<string, string>> = {}): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    if (!fieldName.test(name) || forbidden.has(name)) {
      throw new TunnelError(
        'TUNNEL_OPTION_INVALID',
        `header ${JSON.stringify(name.slice(0, 64))} cannot be sent on a CONNECT; names are lower case`,
      );
    }
    if (typeof value !== 'string' || !fieldValue.test(value)) {
      throw new TunnelError(
        'TUNNEL_OPTION_INVALID',
        `the value of header ${JSON.stringify(name)} is not a printable string`,
      );
    }
    headers[name] = value;
  }
  return headers;
}
