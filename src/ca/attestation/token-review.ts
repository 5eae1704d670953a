import { z } from 'zod';
import { describeError } from '../../core/index.js';
import { shown } from '../../internal/shown.js';
import { CaError } from '../errors.js';
import { quotesToken } from './kubernetes-server.js';
import type { KubernetesServer } from './kubernetes-server.js';
import type { KubernetesTokenFacts } from './kubernetes-token.js';

const strings = z.array(z.string());
const reviewSchema = z.looseObject({
  apiVersion: z.literal('authentication.k8s.io/v1'),
  kind: z.literal('TokenReview'),
  status: z.looseObject({
    authenticated: z.boolean().optional(),
    error: z.string().optional(),
    audiences: strings.optional(),
    user: z
      .looseObject({
        // Missing in a refusal, whose user is there all the same: `{}`.
        username: z.string().optional(),
        uid: z.string().optional(),
        extra: z.record(z.string(), strings).optional(),
      })
      .optional(),
  }),
});

/**
 * Asks the API server about a token that was verified already (TokenReview, authentication.k8s.io/v1): whether its pod
 * and service account are still there. What it says must be what the token says. Its node is what it was when the token
 * was made: API servers do not look for it. They remember a yes for some seconds (10 by default).
 *
 * Throws `CA_ATTESTATION_UNAVAILABLE`, `CA_KUBERNETES_REVIEW_REFUSED`, `CA_KUBERNETES_REVIEW_MISMATCH`.
 */
export async function reviewToken(
  server: KubernetesServer,
  token: string,
  audience: string,
  facts: KubernetesTokenFacts,
  signal: AbortSignal,
): Promise<void> {
  const fields = { node: facts.node.name };
  let answer: unknown;
  try {
    answer = await server.review({ token, audiences: [audience] }, signal);
  } catch (error) {
    // The message goes to a caller that is not known yet; the cause stays in our log.
    const cause = new Error(withoutToken(describeError(error), token));
    const message = 'the API server could not be asked about the token; try again later';
    throw new CaError('CA_ATTESTATION_UNAVAILABLE', message, { cause, fields });
  }
  const review = reviewSchema.safeParse(answer);
  if (!review.success) {
    throw new CaError('CA_ATTESTATION_UNAVAILABLE', 'the API server answered with something else than a TokenReview', {
      fields,
    });
  }
  const { authenticated, error, audiences = [], user } = review.data.status;
  if (authenticated !== true || (error !== undefined && error !== '') || user === undefined) {
    const cause = error === undefined ? undefined : new Error(shown(withoutToken(error, token)));
    const message = 'the API server does not accept the token: it, its pod or its service account is gone';
    throw new CaError('CA_KUBERNETES_REVIEW_REFUSED', message, { cause, fields });
  }
  const { extra = {} } = user;
  const one = (key: string): string | undefined => (extra[key]?.length === 1 ? extra[key][0] : undefined);
  const wrong = Object.entries({
    audience: audiences.includes(audience),
    username: user.username === facts.username,
    'service account': user.uid === facts.serviceAccount.uid,
    'pod name': one('authentication.kubernetes.io/pod-name') === facts.pod.name,
    'pod UID': one('authentication.kubernetes.io/pod-uid') === facts.pod.uid,
    'node name': one('authentication.kubernetes.io/node-name') === facts.node.name,
    'node UID': one('authentication.kubernetes.io/node-uid') === facts.node.uid,
  })
    .filter(([, right]) => !right)
    .map(([what]) => what);
  if (wrong.length === 0) return;
  const message = `the API server's review of the token and the token itself differ: ${wrong.join(', ')}`;
  throw new CaError('CA_KUBERNETES_REVIEW_MISMATCH', message, { fields });
}

function withoutToken(text: string, token: string): string {
  return quotesToken(text, token) ? 'a message that quotes the token' : text;
}
