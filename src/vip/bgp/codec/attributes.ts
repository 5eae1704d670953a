import type { AsPathSegment } from './as-path.js';

/** A large community (RFC 8092): global administrator and two local parts, 32 bits each. */
export type LargeCommunity = readonly [number, number, number];

/** The path attributes that this speaker writes and reads. Numbers are unsigned 32-bit unless said otherwise. */
export interface PathAttributes {
  readonly origin: 'igp' | 'egp' | 'incomplete';
  readonly asPath: readonly AsPathSegment[];
  /** IPv4, canonical: the NEXT_HOP of the routes in the body's own field. Routes of MP_REACH have theirs there. */
  readonly nextHop?: string | undefined;
  readonly med?: number | undefined;
  /** Only between speakers of one AS. */
  readonly localPreference?: number | undefined;
  readonly communities?: readonly number[] | undefined;
  readonly largeCommunities?: readonly LargeCommunity[] | undefined;
}

export const originCodes = Object.freeze({ igp: 0, egp: 1, incomplete: 2 });
