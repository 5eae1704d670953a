/** A real kube-apiserver on loopback with an etcd of its own, and what attestation needs of a cluster in it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createPublicKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writePem } from '../../src/internal/der/pem.js';
import { testCertificate, testPrivateKey } from '../../src/testing/test-certificate.js';
import { EtcdServer } from '../etcd/etcd-server.js';
import { freePort } from '../support/free-port.js';

export const issuer = 'https://kubernetes.default.svc.cluster.local';
export const audience = 'spiffe://cluster.local/controller';

/** The node whose kubelet has an account. */
export const kubeletNode = 'node-b';

export interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly body: unknown;
}

/** `--service-account-signing-key-file` and, each once for every time it is listed, `--service-account-key-file`. */
export interface IssuerKeys {
  readonly signing: KeyObject;
  readonly verifying: readonly KeyObject[];
}

export interface TokenRequest {
  readonly serviceAccount: string;
  readonly audience?: string;
  readonly seconds?: number;
  readonly boundTo?: { readonly kind: 'Pod' | 'Node'; readonly name: string; readonly uid?: string };
}

export class KubeApiServer implements AsyncDisposable {
  readonly url: string;
  /** PEM of the authority of its certificate. */
  readonly ca: string;
  readonly #binary: string;
  readonly #etcd: EtcdServer;
  readonly #port: number;
  readonly #directory = mkdtempSync(join(tmpdir(), 'mw-kube-'));
  readonly #adminToken = randomBytes(16).toString('hex');
  readonly #kubeletToken = randomBytes(16).toString('hex');
  #process: ChildProcess | undefined;
  #log = '';

  private constructor(binary: string, etcd: EtcdServer, port: number) {
    this.#binary = binary;
    this.#etcd = etcd;
    this.#port = port;
    this.url = `https://localhost:${String(port)}`;
    const [authority, key] = [testPrivateKey(), testPrivateKey()];
    const common = {
      issuer: 'cluster',
      signingKey: authority,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 86_400_000),
    };
    const root = testCertificate({ ...common, subject: 'cluster', publicKey: authority, ca: { isCa: true } });
    const leaf = testCertificate({ ...common, subject: 'api server', publicKey: key, dnsNames: ['localhost'] });
    this.ca = writePem(root, 'CERTIFICATE');
    this.#write('tls.crt', writePem(leaf, 'CERTIFICATE'));
    this.#write('tls.key', key.export({ format: 'pem', type: 'pkcs8' }).toString());
    const kubelet = `${this.#kubeletToken},system:node:${kubeletNode},${kubeletNode},"system:nodes"`;
    this.#write('tokens.csv', `${this.#adminToken},admin,admin,"system:masters"\n${kubelet}\n`);
  }

  static async start(binary: string, keys: IssuerKeys): Promise<KubeApiServer> {
    const etcd = await EtcdServer.start();
    const server = new KubeApiServer(binary, etcd, await freePort());
    try {
      await server.start(keys);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Of the same cluster, after `stop`. */
  async start({ signing, verifying }: IssuerKeys): Promise<void> {
    const pkcs1 = { format: 'pem', type: 'pkcs8' } as const;
    const signingFile = this.#write('signing.key', signing.export(pkcs1).toString());
    const keyFiles = verifying.map((key, index) => {
      const pem = createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString();
      return this.#write(`verifying-${String(index)}.pub`, pem);
    });
    const args = [
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${String(this.#port)}`],
      ...[`--etcd-servers=${this.#etcd.url}`, '--endpoint-reconciler-type=none', '--authorization-mode=Node,RBAC'],
      '--enable-admission-plugins=NodeRestriction',
      ...['--service-cluster-ip-range=10.96.0.0/16', `--token-auth-file=${this.#at('tokens.csv')}`],
      ...[`--tls-cert-file=${this.#at('tls.crt')}`, `--tls-private-key-file=${this.#at('tls.key')}`],
      ...[`--service-account-issuer=${issuer}`, `--service-account-signing-key-file=${signingFile}`],
      ...keyFiles.map((file) => `--service-account-key-file=${file}`),
    ];
    const child = spawn(this.#binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process = child;
    child.stderr.on('data', (chunk: Buffer) => (this.#log = (this.#log + chunk.toString()).slice(-10_000)));
    for (let attempt = 0; attempt < 600; attempt += 1) {
      if (child.exitCode !== null) throw new Error(`kube-apiserver ended: ${this.#log}`);
      const { status } = await this.request('GET', '/readyz').catch(() => ({ status: 0 }));
      if (status === 200) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`kube-apiserver did not start: ${this.#log}`);
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  /** As the cluster's administrator, unless `headers` say otherwise. */
  request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const all = {
      authorization: `Bearer ${this.#adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    };
    return new Promise((resolve, reject) => {
      const options = { method, ca: this.ca, headers: all, agent: false };
      const request = https.request(new URL(path, this.url), options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => void chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const type = response.headers['content-type'];
          const json = type !== undefined && /json/.test(type);
          resolve({ status: response.statusCode ?? 0, type, body: json ? (JSON.parse(text) as unknown) : text });
        });
      });
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** A request that must succeed: its answer's body. */
  async admin(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, body: answer } = await this.request(method, path, body);
    if (status < 300) return answer;
    throw new Error(`${method} ${path}: ${String(status)} ${JSON.stringify(answer)}`);
  }

  /** A pod that is bound to its node at once, and has a token for our audience projected; nothing runs. Its UID. */
  async createPod(namespace: string, name: string, node: string, serviceAccount: string): Promise<string> {
    // Kubelets get tokens for the audiences of their pods only.
    const sources = [{ serviceAccountToken: { audience, path: 'token' } }];
    const pod = (await this.admin('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name },
      spec: {
        nodeName: node,
        serviceAccountName: serviceAccount,
        containers: [{ name: 'agent', image: 'example.com/agent' }],
        volumes: [{ name: 'join', projected: { sources } }],
      },
    })) as { readonly metadata: { readonly uid: string } };
    return pod.metadata.uid;
  }

  async deletePod(namespace: string, name: string): Promise<void> {
    await this.admin('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`);
  }

  /** A token as a kubelet asks for it (TokenRequest). */
  async token(namespace: string, request: TokenRequest): Promise<string> {
    const answer = (await this.admin('POST', ...tokenRequest(namespace, request))) as {
      readonly status: { readonly token: string };
    };
    return answer.status.token;
  }

  /** The same by the kubelet of `kubeletNode`. */
  tokenForKubelet(namespace: string, request: TokenRequest): Promise<Answer> {
    const authorization = `Bearer ${this.#kubeletToken}`;
    return this.request('POST', ...tokenRequest(namespace, request), { authorization });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#etcd[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #at(name: string): string {
    return join(this.#directory, name);
  }

  #write(name: string, text: string): string {
    writeFileSync(this.#at(name), text, { mode: 0o600 });
    return this.#at(name);
  }
}

function tokenRequest(namespace: string, request: TokenRequest): [path: string, body: unknown] {
  const { serviceAccount, audience, seconds = 600, boundTo } = request;
  const spec = {
    ...(audience === undefined ? {} : { audiences: [audience] }),
    expirationSeconds: seconds,
    ...(boundTo === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', ...boundTo } }),
  };
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
  return [path, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec }];
}
