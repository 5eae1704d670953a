import type { JoinTokens } from '../join-tokens.js';
import type { Attestor } from './attestor.js';

/** The evidence type of join tokens. */
export const joinTokenEvidence = 'join-token';

/** Join tokens as an `Attestor`. `caRoutes` makes one itself of its option `joinTokens`. */
export function joinTokenAttestor(joinTokens: JoinTokens): Attestor {
  return Object.freeze({
    type: joinTokenEvidence,
    attest: (token: string) => {
      // Within a promise, so that a refusal is a rejection.
      return Promise.resolve().then(() => {
        const { node } = joinTokens.check(token);
        return { node, how: `join token of ${node}`, confirm: () => joinTokens.redeem(token).then(() => undefined) };
      });
    },
  });
}
