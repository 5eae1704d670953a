import { ipBytes } from '../../core/index.js';

/** Connection collision detection (RFC 4271 section 6.8, RFC 6286 section 2.3). */

export interface CollisionSides {
  readonly localRouterId: string;
  readonly remoteRouterId: string;
  readonly localAs: number;
  readonly remoteAs: number;
}

/** Which connection of two stays: the one that was dialled by the side with the higher identifier. */
export function collisionWinner(sides: CollisionSides): 'outgoing' | 'incoming' {
  const order = Buffer.compare(ipBytes(sides.localRouterId), ipBytes(sides.remoteRouterId));
  // Identifiers are unique within an AS only: two that are equal are told apart by the AS.
  const localIsHigher = order === 0 ? sides.localAs > sides.remoteAs : order > 0;
  return localIsHigher ? 'outgoing' : 'incoming';
}
