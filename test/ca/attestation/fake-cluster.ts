/** A Kubernetes API server as attestation sees it: its key set, and TokenReview; on loopback, gone with the test. */
import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
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
  /** PEM of the authority of its certificate; `undefined` for plain HTTP. */
  readonly ca: string | undefined;
  keys: SigningKey[];
  /** Answers instead of serving, when set. */
  broken: 'status' | 'garbage' | 'hang' | 'redirect' | 'huge' | undefined;
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
    ca,
    keys: [signingKey('key-1')],
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
  const send = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  switch (cluster.broken) {
    case 'status':
      return send(500, { message: body });
    case 'garbage':
      return void response.end('<html>');
    case 'redirect':
      return void response.writeHead(302, { location: `${cluster.url}/elsewhere` }).end();
    case 'huge':
      return void response.end(Buffer.alloc(2 * 1024 * 1024, 0x20));
    case 'hang':
      return;
    case undefined:
  }
  if (path === '/openid/v1/jwks') return send(200, { keys: cluster.keys.map(jwkOf) });
  if (path === '/apis/authentication.k8s.io/v1/tokenreviews') return send(201, reviewOf(cluster, body));
  return send(404, {});
}

function reviewOf(cluster: FakeCluster, body: string): unknown {
  const { spec } = JSON.parse(body) as { spec: { token: string; audiences: string[] } };
  const claims = JSON.parse(Buffer.from(spec.token.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
    sub: string;
    'kubernetes.io': Record<'node' | 'pod' | 'serviceaccount', { name: string; uid: string }>;
  };
  const { node, pod, serviceaccount } = claims['kubernetes.io'];
  const honest: Review = {
    authenticated: true,
    audiences: spec.audiences,
    user: {
      username: claims.sub,
      uid: serviceaccount.uid,
      groups: ['system:serviceaccounts'],
      extra: {
        'authentication.kubernetes.io/node-name': [node.name],
        'authentication.kubernetes.io/node-uid': [node.uid],
        'authentication.kubernetes.io/pod-name': [pod.name],
        'authentication.kubernetes.io/pod-uid': [pod.uid],
      },
    },
  };
  return {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec,
    status: cluster.review(honest),
  };
}
