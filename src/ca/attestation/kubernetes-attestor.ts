import { silentLogger, systemClock } from '../../core/index.js';
import type { Clock, Logger } from '../../core/index.js';
import { CaError } from '../errors.js';
import type { Attestation, AttestationConfirmOptions, Attestor } from './attestor.js';
import { LoadedKeys, staticKeys } from './key-source.js';
import type { KeySource } from './key-source.js';
import { KubernetesServer } from './kubernetes-server.js';
import type { KubernetesServerOptions } from './kubernetes-server.js';
import { kubernetesTokenAlgorithms, verifyKubernetesToken } from './kubernetes-token.js';
import type { KubernetesTokenAlgorithm, KubernetesTokenFacts, KubernetesTokenPolicy } from './kubernetes-token.js';
import { reviewToken } from './token-review.js';
import { UsedEvidence } from './used-evidence.js';

/** The evidence type of Kubernetes tokens. */
export const kubernetesTokenEvidence = 'kubernetes-token';

export interface KubernetesTokenAttestorOptions {
  /** `iss` of the tokens, exactly: the API server's `--service-account-issuer`. */
  readonly issuer: string;
  /**
   * `aud` of the tokens, exactly and alone: this controller's own, such as `spiffe://cluster.local/controller`. Never the
   * API server's: what agents send us must be of no use anywhere else.
   */
  readonly audience: string;
  /** The agents' service account, exactly. Nobody else may be able to run pods or make tokens under it. */
  readonly serviceAccount: { readonly namespace: string; readonly name: string };
  /**
   * The API server: where the keys come from, unless `jwks` says otherwise, and where every token is reviewed before it is
   * accepted (TokenReview), so that the token of a pod that is gone is refused. Give this, `jwks` or both.
   */
  readonly server?: Omit<KubernetesServerOptions, 'clock'> | undefined;
  /** The issuer's keys (JWKS): a document, or a function that loads it, called when needed, with a cache. */
  readonly jwks?: object | ((signal: AbortSignal) => Promise<unknown>) | undefined;
  /** False asks `server` for keys only. Default true. */
  readonly review?: boolean | undefined;
  /** Longest lifetime of a token, `exp` less `iat`: 60 000 ms to 24 hours. Default 1 hour, which is a projection's default. */
  readonly maxLifetimeMs?: number | undefined;
  /** How far `iat` and `nbf` may lie in the future, 0 to 600 000 ms. Default 60 000. `exp` is exact. */
  readonly clockSkewMs?: number | undefined;
  /** Default RS256, ES256, ES384 and ES512; there are no others. */
  readonly algorithms?: readonly KubernetesTokenAlgorithm[] | undefined;
  /** Each token is taken for one key, so once by each agent. Default true; false where agents start again without a disk before their token is replaced. */
  readonly singleUse?: boolean | undefined;
  /** Remembers used tokens: `await ca.usedEvidence()`. Default: a memory that a restart of this process wipes. */
  readonly used?: UsedEvidence | undefined;
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * Attests agents by projected service-account tokens (Kubernetes 1.30 or later, whose tokens name the pod's node). A token
 * is good when an issuer's key signed it; when it is of this issuer, for this audience alone, of this service account
 * and short-lived; when it is bound to a pod and its node; and when the API server, where one is given, says the same.
 *
 * Does not show that the sender is that pod: a token is a bearer token, which is why it is short, ours alone, and taken
 * for one key only. Throws `CA_REQUEST_INVALID` for options out of bounds.
 *
 * @example
 * const attestor = kubernetesTokenAttestor({
 *   issuer: 'https://kubernetes.default.svc.cluster.local',
 *   audience: 'spiffe://cluster.local/controller',
 *   serviceAccount: { namespace: 'mesh-system', name: 'meshwright-agent' },
 *   server: { url: 'https://10.96.0.1', ca, bearerToken: () => readFile(tokenFile, 'utf8') },
 *   used: await ca.usedEvidence(),
 * });
 * caRoutes({ ca, tokens, attestors: [attestor], peerOf });
 */
export function kubernetesTokenAttestor(options: KubernetesTokenAttestorOptions): Attestor {
  const { clock = systemClock, logger = silentLogger, review = true, singleUse = true } = options;
  const policy = policyOf(options);
  const server = options.server === undefined ? undefined : new KubernetesServer({ ...options.server, clock });
  const keys = keySourceOf(options.jwks, server, clock, logger);
  const used = options.used ?? UsedEvidence.inMemory({ clock });

  const confirm = async (
    token: string,
    facts: KubernetesTokenFacts,
    { key, signal }: AttestationConfirmOptions,
  ): Promise<void> => {
    if (singleUse && used.isSpent(facts.digest, key)) throw usedBefore(facts);
    if (server !== undefined && review) await reviewToken(server, token, policy.audience, facts, signal);
    if (!singleUse) return;
    const { digest, expiresAtMs: endsMs } = facts;
    // Last: a token that could not be reviewed may be tried again.
    if (!(await used.use({ digest, key, endsMs, node: facts.node.name }))) throw usedBefore(facts);
  };
  return Object.freeze({
    type: kubernetesTokenEvidence,
    attest: async (token: string, { signal }: { readonly signal: AbortSignal }): Promise<Attestation> => {
      const facts = await verifyKubernetesToken(token, policy, keys, clock.now(), signal);
      const { pod, node } = facts;
      return Object.freeze({
        node: node.name,
        how: `Kubernetes token of pod ${policy.namespace}/${pod.name} (${pod.uid}) on node ${node.name} (${node.uid})`,
        confirm: (confirming: AttestationConfirmOptions) => confirm(token, facts, confirming),
      });
    },
  });
}

function usedBefore({ node, pod }: KubernetesTokenFacts): CaError {
  const message = `the Kubernetes token of pod ${pod.name} was used before; wait for the next one, or find out who used it`;
  return new CaError('CA_KUBERNETES_TOKEN_USED', message, { fields: { node: node.name } });
}

function keySourceOf(
  jwks: KubernetesTokenAttestorOptions['jwks'],
  server: KubernetesServer | undefined,
  clock: Clock,
  logger: Logger,
): KeySource {
  if (jwks !== undefined && typeof jwks !== 'function') return staticKeys(jwks);
  const load = jwks ?? (server && ((signal: AbortSignal) => server.keys(signal)));
  if (load !== undefined)
    return new LoadedKeys({ load: load as (signal: AbortSignal) => Promise<unknown>, clock, logger });
  throw new CaError('CA_REQUEST_INVALID', 'expected server or jwks: without either, no token can be verified');
}

/** RFC 1123: a namespace is a label, a service account a subdomain. */
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const subdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

function policyOf(options: KubernetesTokenAttestorOptions): KubernetesTokenPolicy {
  const { issuer, audience, serviceAccount, algorithms = kubernetesTokenAlgorithms } = options;
  const { maxLifetimeMs = 60 * 60_000, clockSkewMs = 60_000 } = options;
  const within = (value: number, least: number, most: number): boolean => value >= least && value <= most;
  for (const [name, valid, expected] of [
    ['issuer', issuer !== '', 'a text that is not empty'],
    ['audience', audience !== '', 'a text that is not empty'],
    ['serviceAccount.namespace', label.test(serviceAccount.namespace), 'the name of a namespace'],
    ['serviceAccount.name', subdomain.test(serviceAccount.name), 'the name of a service account'],
    ['maxLifetimeMs', within(maxLifetimeMs, 60_000, 24 * 60 * 60_000), '60000 ms to 24 hours'],
    ['clockSkewMs', within(clockSkewMs, 0, 600_000), '0 to 600000 ms'],
    [
      'algorithms',
      algorithms.length > 0 && algorithms.every((each) => kubernetesTokenAlgorithms.includes(each)),
      `some of ${kubernetesTokenAlgorithms.join(', ')}`,
    ],
  ] as const) {
    if (!valid) throw new CaError('CA_REQUEST_INVALID', `expected ${name} to be ${expected}`);
  }
  const { namespace, name } = serviceAccount;
  return Object.freeze({ issuer, audience, namespace, serviceAccount: name, maxLifetimeMs, clockSkewMs, algorithms });
}
