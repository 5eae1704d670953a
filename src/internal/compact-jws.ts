/** What every signed token of the mesh is on the wire: a JWS in compact form (RFC 7515), bounded and canonical. */
import { decodeProtectedHeader } from 'jose';

const maxTokenLength = 8 * 1024;

/** The protected header's members that decide what a token is. */
export type JwsHeader = Readonly<Record<'typ' | 'alg' | 'kid', unknown>>;

/** Why `token` is no compact JWS, as the end of a sentence; undefined when it is one. The token is never quoted. */
export function compactJwsDefect(token: unknown): string | undefined {
  if (typeof token !== 'string' || token.length > maxTokenLength || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    return 'it is not a compact JWS of at most 8 KiB';
  }
  // A last character with stray bits would make many texts of one token.
  return token.split('.').some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part)
    ? 'one of its parts is not base64url in its one canonical form'
    : undefined;
}

/** The header of a compact JWS, undefined when it is not JSON. */
export function readJwsHeader(token: string): JwsHeader | undefined {
  try {
    const { typ, alg, kid } = decodeProtectedHeader(token);
    return { typ, alg, kid };
  } catch {
    return undefined;
  }
}

/** A JWS payload as JSON, undefined when it is not JSON in UTF-8. */
export function readJsonPayload(payload: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    return undefined;
  }
}
