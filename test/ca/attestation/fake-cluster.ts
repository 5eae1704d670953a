/**
 * A Kubernetes API server as attestation sees it: its key set, and TokenReview; on loopback, gone with the test. It answers
 * as a real one did (recorded-cluster.test.ts compares them), but for expiry: tests have clocks of their own.
 */
import { createPublicKey, generateKeyPairSync, randomUUID, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { KubernetesTokenAttestorOptions } from 'meshwright/ca';
import { testCertificate, testPrivateKey } from '../../../src/testing/test-certificate.js';
import { writePem } from '../../../src/internal/der/pem.js';

export const issuer = 'https://kubernetes.default.svc.cluster.local';
export const audience = 'spiffe://cluster.local/controller';
export const serviceAccount = Object.freeze({ namespace: 'mesh-system', name: 'meshwright-agent' });
export const username = 'system:serviceaccount:mesh-system:meshwright-agent';
export const policy = { issuer, audience, serviceAccount } satisfies KubernetesTokenAttestorOptions;
export const atMs = Date.UTC(2026, 10, 21, 12);

export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly alg: 'RS256' | 'ES256' | 'ES384';
}

export function signingKey(kid: string, alg: SigningKey['alg'] = 'ES256'): SigningKey {
  const { privateKey } =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: alg === 'ES256' ? 'P-256' : 'P-384' });
  return { kid, privateKey, alg };
}

export const jwkOf = ({ kid, privateKey, alg }: SigningKey): Record<string, unknown> => ({
  ...createPublicKey(privateKey).export({ format: 'jwk' }),
  kid,
  alg,
  use: 'sig',
});

/** What the API server puts into the token of an agent's pod. */
export function claimsOf(node: string, nowMs = atMs): Record<string, unknown> {
  const iat = Math.floor(nowMs / 1000);
  return {
    aud: [audience],
    exp: iat + 3600,
    iat,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: serviceAccount.namespace,
      node: { name: node, uid: `node-uid-${node}` },
      pod: { name: `agent-${node}`, uid: `pod-uid-${node}` },
      serviceaccount: { name: serviceAccount.name, uid: 'sa-uid' },
    },
    nbf: iat,
    sub: username,
  };
}

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs anything: `header` goes over alg and kid. */
export function mint(key: SigningKey, claims: unknown, header: Record<string, unknown> = {}): string {
  const signed = `${encoded({ alg: key.alg, kid: key.kid, ...header })}.${encoded(claims)}`;
  const digest = key.alg === 'ES384' ? 'sha384' : 'sha256';
  const signature = sign(digest, Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

export interface Review {
  authenticated?: unknown;
  error?: unknown;
  audiences?: unknown;
  user?: unknown;
}

export interface FakeCluster {
  readonly url: string;
  /** What it accepts as `bearerToken`, and nothing else. */
  readonly bearerToken: string;
  /** PEM of the authority of its certificate; `undefined` for plain HTTP. */
  readonly ca: string | undefined;
  keys: SigningKey[];
  /** Names of pods that were deleted. */
  readonly deletedPods: Set<string>;
  /** Answers instead of serving, when set. */
  broken: 'status' | 'forbidden' | 'garbage' | 'hang' | 'redirect' | 'huge' | undefined;
  /** Changes an honest review. */
  review: (honest: Review) => Review;
  readonly requests: { readonly path: string; readonly authorization: string | undefined; readonly body: string }[];
  /** Refuses connections, as a server that is down. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function fakeCluster(options: { readonly tls?: boolean } = {}): Promise<FakeCluster> {
  const { tls = true } = options;
  let ca: string | undefined;
  let make = (listener: http.RequestListener): http.Server => http.createServer(listener);
  if (tls) {
    const key = testPrivateKey();
    const certificate = testCertificate({
      subject: 'api server',
      issuer: 'api server',
      publicKey: key,
      signingKey: key,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 3_600_000),
      dnsNames: ['localhost'],
      ca: { isCa: true },
    });
    const pem = writePem(certificate, 'CERTIFICATE');
    ca = pem;
    make = (listener) => https.createServer({ key: key.export({ format: 'pem', type: 'pkcs8' }), cert: pem }, listener);
  }
  let server: http.Server | undefined;
  let port = 0;
  const cluster: FakeCluster = {
    get url() {
      return `${tls ? 'https' : 'http'}://localhost:${String(port)}`;
    },
    bearerToken: 'own-0c4f1e',
    ca,
    keys: [signingKey('key-1')],
    deletedPods: new Set(),
    broken: undefined,
    review: (honest) => honest,
    requests: [],
    stop: async () => {
      const stopping = server;
      server = undefined;
      stopping?.closeAllConnections();
      await new Promise((resolve) => (stopping === undefined ? resolve(undefined) : stopping.close(resolve)));
    },
    start: async () => {
      const starting = (server = make((request, response) => void answer(cluster, request, response)));
      await new Promise<void>((resolve, reject) => {
        starting.once('error', reject);
        starting.listen({ host: 'localhost', port }, resolve);
      });
      ({ port } = starting.address() as AddressInfo);
    },
  };
  await cluster.start();
  onTestFinished(() => cluster.stop());
  return cluster;
}

async function answer(
  cluster: FakeCluster,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks).toString('utf8');
  const path = request.url ?? '';
  cluster.requests.push({ path, authorization: request.headers.authorization, body });
  const send = (status: number, value: unknown, type = 'application/json'): void => {
    response.writeHead(status, { 'content-type': type });
    response.end(JSON.stringify(value));
  };
  const fail = (code: number, reason: string, message: string, more: object = { details: {} }): void =>
    send(code, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, ...more, code });
  switch (cluster.broken) {
    case 'status':
      return fail(500, 'InternalError', body);
    case 'garbage':
      return void response.end('<html>');
    case 'redirect':
      return void response.writeHead(302, { location: `${cluster.url}/elsewhere` }).end();
    case 'huge':
      return void response.end(Buffer.alloc(2 * 1024 * 1024, 0x20));
    case 'hang':
      return;
    case 'forbidden':
    case undefined:
  }
  const { authorization, accept = '*/*' } = request.headers;
  if (authorization !== undefined && authorization !== `Bearer ${cluster.bearerToken}`) {
    return fail(401, 'Unauthorized', 'Unauthorized', {});
  }
  const accepts = (type: string): boolean => accept.split(/\s*,\s*/).some((each) => each === type || each === '*/*');
  const allowed = authorization !== undefined && cluster.broken !== 'forbidden';
  const user = authorization === undefined ? 'system:anonymous' : controllerName;
  if (path === '/openid/v1/jwks') {
    const type = 'application/jwk-set+json';
    if (!allowed) return fail(403, 'Forbidden', `forbidden: User "${user}" cannot get path "${path}"`);
    if (accepts(type)) return send(200, { keys: cluster.keys.map(jwkOf) }, type);
    return fail(406, 'NotAcceptable', `406: Not Acceptable\n\nAvailable representations: ${type}`);
  }
  if (path === '/apis/authentication.k8s.io/v1/tokenreviews' && accepts('application/json')) {
    const more = { details: { group: 'authentication.k8s.io', kind: 'tokenreviews' } };
    const what = 'cannot create resource "tokenreviews" in API group "authentication.k8s.io" at the cluster scope';
    const forbidden = `tokenreviews.authentication.k8s.io is forbidden: User "${user}" ${what}`;
    return allowed ? send(201, reviewOf(cluster, body)) : fail(403, 'Forbidden', forbidden, more);
  }
  return fail(404, 'NotFound', 'the server could not find the requested resource');
}

const controllerName = 'system:serviceaccount:mesh-system:meshwright-controller';

interface ReviewedClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: readonly string[];
  readonly jti?: string;
  readonly 'kubernetes.io': Record<'node' | 'pod' | 'serviceaccount', { name: string; uid: string } | undefined>;
}

function reviewOf(cluster: FakeCluster, body: string): unknown {
  const { spec } = JSON.parse(body) as { spec: { token: string; audiences: string[] } };
  const error = whyRefused(cluster, spec.token, spec.audiences);
  const honest = error === undefined ? acceptance(readClaims(spec.token), spec.audiences) : { user: {}, error };
  return {
    kind: 'TokenReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: null },
    spec,
    status: cluster.review(honest),
  };
}

function readClaims(token: string): ReviewedClaims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as ReviewedClaims;
}

/** In the words of a real one. */
function whyRefused(cluster: FakeCluster, token: string, audiences: readonly string[]): string | undefined {
  const claims = readClaims(token);
  if (claims.iss !== issuer) return 'invalid bearer token';
  const because = (why: string): string => `[invalid bearer token, ${why}]`;
  const [header = '', payload = '', signature = ''] = token.split('.');
  const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8')) as { readonly kid: string };
  const signer = cluster.keys.find((key) => key.kid === kid);
  if (signer === undefined) return because('invalid signature, no keys found');
  const key = { key: createPublicKey(signer.privateKey), dsaEncoding: 'ieee-p1363' } as const;
  const digest = signer.alg === 'ES384' ? 'sha384' : 'sha256';
  if (!verify(digest, Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))) {
    return because('go-jose/go-jose: error in cryptographic primitive');
  }
  if (!claims.aud.some((each) => audiences.includes(each))) {
    const list = (each: readonly string[]): string => `[${each.map((one) => JSON.stringify(one)).join(' ')}]`;
    return because(`token audiences ${list(claims.aud)} is invalid for the target audiences ${list(audiences)}`);
  }
  const gone = cluster.deletedPods.has(claims['kubernetes.io'].pod?.name ?? '');
  return gone ? because('service account token has been invalidated') : undefined;
}

function acceptance(claims: ReviewedClaims, audiences: readonly string[]): Review {
  const { node, pod, serviceaccount } = claims['kubernetes.io'];
  const extra = {
    'credential-id': claims.jti === undefined ? undefined : `JTI=${claims.jti}`,
    'node-name': node?.name,
    'node-uid': node?.uid,
    'pod-name': pod?.name,
    'pod-uid': pod?.uid,
  };
  return {
    authenticated: true,
    user: {
      username: claims.sub,
      uid: serviceaccount?.uid,
      groups: [
        'system:serviceaccounts',
        `system:serviceaccounts:${claims.sub.split(':')[2] ?? ''}`,
        'system:authenticated',
      ],
      extra: Object.fromEntries(
        Object.entries(extra).flatMap(([name, value]) =>
          value === undefined ? [] : [[`authentication.kubernetes.io/${name}`, [value]]],
        ),
      ),
    },
    audiences: audiences.filter((each) => claims.aud.includes(each)),
  };
}
