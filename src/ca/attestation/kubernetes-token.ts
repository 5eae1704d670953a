/** What a Kubernetes projected service-account token says, after its signature was verified; and what it must say. */
import { createHash } from 'node:crypto';
import { compactVerify, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import { compactJwsDefect, readJsonPayload } from '../../internal/compact-jws.js';
import { shown } from '../../internal/shown.js';
import { CaError } from '../errors.js';
import type { CaErrorCode } from '../errors.js';
import type { KeySource } from './key-source.js';
import type { VerificationKey } from './key-set.js';

/** The signature algorithms that API servers use, each with the keys that make it. HMAC and `none` are not among them. */
const keyOfAlgorithm = Object.freeze({
  RS256: 'rsa',
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
} as const);

export type KubernetesTokenAlgorithm = keyof typeof keyOfAlgorithm;
export const kubernetesTokenAlgorithms = Object.freeze(
  Object.keys(keyOfAlgorithm) as readonly KubernetesTokenAlgorithm[],
);

/** What a token must be to be accepted. */
export interface KubernetesTokenPolicy {
  readonly issuer: string;
  readonly audience: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly maxLifetimeMs: number;
  readonly clockSkewMs: number;
  readonly algorithms: readonly KubernetesTokenAlgorithm[];
}

/** An object of the cluster that a token is bound to. */
export interface BoundObject {
  readonly name: string;
  readonly uid: string;
}

/** A token that is good, as far as it can be told without asking its cluster. */
export interface KubernetesTokenFacts {
  /** `system:serviceaccount:<namespace>:<name>`. */
  readonly username: string;
  readonly serviceAccount: BoundObject;
  readonly pod: BoundObject;
  readonly node: BoundObject;
  readonly expiresAtMs: number;
  /** Of what was signed: the same for every form that a signature can be brought into. */
  readonly digest: string;
}

const bound = z.looseObject({ name: z.string().min(1).max(253), uid: z.string().min(1).max(128) });
/** Without a UID when there was no such Node when the token was made. */
const boundNode = bound.partial({ uid: true });
const seconds = z.number().min(0).max(8_640_000_000_000);
const claimsSchema = z.looseObject({
  iss: z.string(),
  sub: z.string(),
  aud: z.union([z.string(), z.array(z.string()).max(32)]),
  exp: seconds.optional(),
  iat: seconds.optional(),
  nbf: seconds.optional(),
  'kubernetes.io': z
    .looseObject({ namespace: z.string(), serviceaccount: bound, pod: bound.optional(), node: boundNode.optional() })
    .optional(),
});
type Claims = z.output<typeof claimsSchema>;

/**
 * Verifies a token (RFC 7519, and the claims of Kubernetes' bound service account tokens). Nothing is read from it before
 * its signature stands. Throws a `CA_KUBERNETES_TOKEN_…` code per defect, and what `keys` throws.
 */
export async function verifyKubernetesToken(
  token: string,
  policy: KubernetesTokenPolicy,
  keys: KeySource,
  nowMs: number,
  signal: AbortSignal,
): Promise<KubernetesTokenFacts> {
  const defect = compactJwsDefect(token);
  if (defect !== undefined) throw refused('CA_KUBERNETES_TOKEN_MALFORMED', defect);
  const { alg, kid } = readHeader(token, policy.algorithms);
  const key = await keys.find(kid, signal);
  if (key === undefined)
    throw refused('CA_KUBERNETES_TOKEN_KEY_UNKNOWN', 'it is signed by a key that its issuer does not have');
  const payload = await requireSignature(token, alg, key);
  const claims = claimsSchema.safeParse(readJsonPayload(payload));
  if (!claims.success) {
    const wrong = claims.error.issues.map((issue) => issue.path.slice(0, 2).join('.')).join(', ');
    throw refused('CA_KUBERNETES_TOKEN_MALFORMED', `these claims are missing or of the wrong type: ${wrong}`);
  }
  return requireClaims(claims.data, policy, nowMs, digestOf(token));
}

/** Of header and payload only: an ECDSA signature has two forms, and both verify. */
function digestOf(token: string): string {
  return createHash('sha256')
    .update(token.slice(0, token.lastIndexOf('.')))
    .digest('base64url');
}

function readHeader(
  token: string,
  algorithms: readonly KubernetesTokenAlgorithm[],
): { readonly alg: KubernetesTokenAlgorithm; readonly kid: string } {
  let header: Readonly<Record<string, unknown>>;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    throw refused('CA_KUBERNETES_TOKEN_MALFORMED', 'its header is not a JSON object');
  }
  const { alg, kid, typ, ...others } = header;
  const algorithm = algorithms.find((each) => each === alg);
  if (algorithm === undefined) {
    throw refused('CA_KUBERNETES_TOKEN_ALGORITHM', `its signature algorithm is not one of ${algorithms.join(', ')}`);
  }
  // Such as crit, jku, jwk, x5c: nothing that an API server writes, and each a way to bring one's own key.
  if (Object.keys(others).length > 0 || (typ !== undefined && typ !== 'JWT')) {
    throw refused('CA_KUBERNETES_TOKEN_MALFORMED', 'its header has more than alg, kid and typ JWT');
  }
  if (typeof kid !== 'string' || kid === '') throw refused('CA_KUBERNETES_TOKEN_KEY_UNKNOWN', 'it names no key');
  return { alg: algorithm, kid };
}

async function requireSignature(
  token: string,
  alg: KubernetesTokenAlgorithm,
  { key, algorithm }: VerificationKey,
): Promise<Uint8Array> {
  const kind = key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType;
  if (kind !== keyOfAlgorithm[alg] || (algorithm !== undefined && algorithm !== alg)) {
    throw refused('CA_KUBERNETES_TOKEN_ALGORITHM', 'the key that it names does not make signatures of its algorithm');
  }
  try {
    return (await compactVerify(token, key, { algorithms: [alg] })).payload;
  } catch {
    throw refused('CA_KUBERNETES_TOKEN_SIGNATURE', 'its signature does not verify');
  }
}

function requireClaims(
  claims: Claims,
  policy: KubernetesTokenPolicy,
  nowMs: number,
  digest: string,
): KubernetesTokenFacts {
  const { iss, sub, exp, iat, nbf = iat, 'kubernetes.io': cluster } = claims;
  if (iss !== policy.issuer)
    throw refused('CA_KUBERNETES_TOKEN_ISSUER', `expected the issuer ${policy.issuer}, got ${shown(iss)}`);
  const username = `system:serviceaccount:${policy.namespace}:${policy.serviceAccount}`;
  if (sub !== username)
    throw refused('CA_KUBERNETES_TOKEN_SUBJECT', `expected the subject ${username}, got ${shown(sub)}`);
  const audiences = [claims.aud].flat();
  if (audiences.length !== 1 || audiences[0] !== policy.audience) {
    const got = shown(audiences.join(' '));
    throw refused('CA_KUBERNETES_TOKEN_AUDIENCE', `expected the audience ${policy.audience} and no other, got ${got}`);
  }
  if (exp === undefined || iat === undefined || nbf === undefined) {
    throw refused(
      'CA_KUBERNETES_TOKEN_LIFETIME',
      'it does not end, or does not say since when it lives: a projected token does',
    );
  }
  if (!(exp > iat && (exp - iat) * 1000 <= policy.maxLifetimeMs)) {
    const seconds = `${String(policy.maxLifetimeMs / 1000)} s`;
    throw refused(
      'CA_KUBERNETES_TOKEN_LIFETIME',
      `expected a lifetime of at most ${seconds}, got ${String(exp - iat)} s`,
    );
  }
  if (nowMs >= exp * 1000) throw refused('CA_KUBERNETES_TOKEN_EXPIRED', `it ended at ${isoTime(exp)}`);
  if (nowMs + policy.clockSkewMs < Math.max(iat, nbf) * 1000) {
    throw refused('CA_KUBERNETES_TOKEN_NOT_YET_VALID', `it begins at ${isoTime(Math.max(iat, nbf))}`);
  }
  const { pod, node, serviceaccount: serviceAccount } = cluster ?? {};
  if (pod === undefined || node === undefined || serviceAccount === undefined) {
    throw refused(
      'CA_KUBERNETES_TOKEN_NOT_BOUND',
      'expected the claims of a pod and its node, as Kubernetes 1.30 and later write them',
    );
  }
  const { name: nodeName, uid: nodeUid } = node;
  if (nodeUid === undefined) {
    throw refused(
      'CA_KUBERNETES_TOKEN_NOT_BOUND',
      `its node ${shown(nodeName)} has no UID: the cluster had no such Node when it made the token`,
      nodeName,
    );
  }
  if (cluster?.namespace !== policy.namespace || serviceAccount.name !== policy.serviceAccount) {
    throw refused('CA_KUBERNETES_TOKEN_SUBJECT', 'its subject and its kubernetes.io claims disagree', nodeName);
  }
  return Object.freeze({
    username,
    serviceAccount,
    pod,
    node: { ...node, uid: nodeUid },
    expiresAtMs: exp * 1000,
    digest,
  });
}

function refused(code: Extract<CaErrorCode, `CA_KUBERNETES_TOKEN_${string}`>, why: string, node?: string): CaError {
  const fields = node === undefined ? {} : { node };
  return new CaError(code, `the Kubernetes token is refused: ${why}`, { fields });
}

function isoTime(atSeconds: number): string {
  return new Date(atSeconds * 1000).toISOString();
}
