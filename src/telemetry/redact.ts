import { KeyObject } from 'node:crypto';
import { describeError } from '../core/index.js';

/** What stands in a log line for something that must not be there. */
export const redacted = '[redacted]';

const maxDepth = 6;
const maxStringLength = 8192;
const maxEntries = 200;

/** A word of a field's name that says its value is a secret … */
const secretWords = new Set([
  'token',
  'tokens',
  'secret',
  'secrets',
  'password',
  'passphrase',
  'authorization',
  'cookie',
  'jwt',
  'bearer',
  'credential',
  'credentials',
  'pem',
  'pkcs8',
]);
/** … unless the last word says that it is only something about the secret. */
const harmlessEndings = new Set([
  'at',
  'code',
  'count',
  'expires',
  'expiry',
  'header',
  'id',
  'node',
  'reason',
  'status',
  'subject',
  'thumbprint',
  'ttl',
  'type',
  'ms',
]);
const secretKeys =
  /(?:^|_)(?:private|signing|secret|session|encryption|host|api|access)_keys?(?:_|$)|^(?:key|keys|apikey|d|k)$/;

/** A compact JWS or JWE, and PEM blocks of private keys, wherever they stand in a text. */
const jwtText = /\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}/g;
const privateKeyText = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g;
const bearerText = /\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi;

/** Whether a field of this name, in any style of writing, holds a secret. */
export function isSecretName(name: string): boolean {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
  if (harmlessEndings.has(words.at(-1) ?? '')) return false;
  return words.some((word) => secretWords.has(word)) || secretKeys.test(words.join('_'));
}

/** Text without what looks like a token or private key, cut to a bounded length. */
export function redactText(text: string): string {
  const bounded = text.length > maxStringLength ? `${text.slice(0, maxStringLength)}…` : text;
  return bounded
    .replaceAll(privateKeyText, redacted)
    .replaceAll(jwtText, redacted)
    .replaceAll(bearerText, `$1 ${redacted}`);
}

/** A copy of `value` that is safe to log as JSON: bounded, without cycles, keys or bytes, secrets replaced. */
export function redact(value: unknown): unknown {
  return copy(value, 0, new Set());
}

/** A value that throws while it is read (a hostile getter, a `toString` that is none) costs itself, not the line. */
function copy(value: unknown, depth: number, above: ReadonlySet<object>): unknown {
  try {
    return copyReadable(value, depth, above);
  } catch {
    return '[unreadable]';
  }
}

function copyReadable(value: unknown, depth: number, above: ReadonlySet<object>): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return undefined;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Error) return redactText(describeError(value));
  if (value instanceof KeyObject) return redacted;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${String(value.byteLength)} bytes]`;
  if (depth >= maxDepth) return '[…]';
  if (above.has(value)) return '[circular]';
  const path = new Set(above).add(value);
  if (Array.isArray(value)) return value.slice(0, maxEntries).map((item) => copy(item, depth + 1, path));
  if (value instanceof Map) return copy(Object.fromEntries(value), depth, path);
  if (value instanceof Set) return copy([...value], depth, path);
  // Value objects (identities, addresses) say themselves what they look like; an opaque one stays opaque.
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    const text = Object.prototype.toString === value.toString ? `[${value.constructor.name}]` : String(value);
    return redactText(text);
  }
  const result: Record<string, unknown> = {};
  for (const [name, item] of Object.entries(value).slice(0, maxEntries)) {
    result[name] = redactField(name, item, (inner) => copy(inner, depth + 1, path));
  }
  return result;
}

/** Numbers and booleans about a secret (`tokens: 3`) tell nothing. */
function redactField(name: string, value: unknown, otherwise: (value: unknown) => unknown): unknown {
  const isPlain = value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean';
  return !isPlain && !(value instanceof Date) && isSecretName(name) ? redacted : otherwise(value);
}
