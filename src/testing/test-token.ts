/** Workload tokens, right or deliberately wrong. By hand, since a JOSE library rightly refuses to make most wrong ones. */
import { randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { workloadTokenAlgorithm, workloadTokenType } from '../spiffe/index.js';

export interface TestJws {
  /** Merged over the header that a workload token has; a member of `undefined` removes it. */
  readonly header?: Readonly<Record<string, unknown>> | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
  /** A P-256 private key. */
  readonly key: KeyObject;
  readonly keyId: string;
}

/** Signs any header and claims as ES256, whatever the header says. */
export function testJws({ header, claims, key, keyId }: TestJws): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const protectedHeader = { typ: workloadTokenType, alg: workloadTokenAlgorithm, kid: keyId, ...header };
  const input = `${encode(protectedHeader)}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** An unpredictable token ID. */
export function testTokenId(): string {
  return randomBytes(16).toString('base64url');
}
