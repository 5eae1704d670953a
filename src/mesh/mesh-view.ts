/** What a snapshot becomes once it is checked and compiled: the view that every decision of an agent is taken from. */
import { AuthzEngine } from '../authz/index.js';
import { systemClock } from '../core/index.js';
import type { Clock } from '../core/index.js';
import { MeshError } from './errors.js';
import { MeshIndex } from './mesh-index.js';
import { meshStateSchema } from './resources.js';
import type { MeshState } from './resources.js';

export interface MeshView {
  readonly index: MeshIndex;
  readonly engine: AuthzEngine;
}

/** Checks unknown data against the schema. Throws `MESH_STATE_INVALID` naming the first wrong fields. */
export function parseMeshState(data: unknown): MeshState {
  const result = meshStateSchema.safeParse(data);
  if (result.success) return result.data;
  const problems = result.error.issues
    .slice(0, 10)
    .map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`);
  throw new MeshError('MESH_STATE_INVALID', `expected a mesh state, but ${problems.join('; ')}`, {
    fields: { problems },
  });
}

/**
 * The `prepare` function of an agent's `SnapshotStore<MeshState, MeshView>`: validates, indexes and compiles, and
 * throws (so that the old snapshot stays) when any part is wrong. A snapshot applies whole or not at all.
 *
 * Throws `MESH_STATE_INVALID`, `AUTHZ_…` compile errors.
 */
export function prepareMeshView(
  node: string,
  options: { /** Tells when grants end. Default the system's. */ readonly clock?: Clock | undefined } = {},
): (next: MeshState) => MeshView {
  const clock = neverBack(options.clock ?? systemClock);
  return (next) => {
    const state = parseMeshState(next);
    return Object.freeze({
      index: MeshIndex.build(state, node),
      engine: AuthzEngine.compile(state.policies, {
        trustDomain: state.trustDomain,
        rootNamespace: state.settings.rootNamespace,
        defaultAction: state.settings.defaultAction,
        dialects: { meshwright: state.settings.meshwrightDialect },
        clock,
      }),
    });
  };
}

/** One clock for all engines of an agent, so that no newer snapshot revives a grant after the clock was set back. */
function neverBack(clock: Clock): Clock {
  let latestMs = Number.NEGATIVE_INFINITY;
  return {
    now: () => (latestMs = Math.max(latestMs, clock.now())),
    monotonicMs: () => clock.monotonicMs(),
    timer: (delayMs, fn, options) => clock.timer(delayMs, fn, options),
  };
}
