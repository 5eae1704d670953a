import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `snapshot`. */
export const snapshotErrorCodes = defineErrorCodes({
  SNAPSHOT_NOT_JSON: {
    when: 'A snapshot holds something that JSON cannot say: NaN, a bigint, a function, a class instance, a cycle.',
    fix: 'Use plain objects, arrays, strings, finite numbers, booleans and null only.',
  },
  SNAPSHOT_TOO_LARGE: {
    when: 'A snapshot, or the file or stream it arrives in, is larger than the configured limit.',
    fix: 'Cut the snapshot down to what its node needs, or raise maxBytes at both ends.',
  },
  SNAPSHOT_CORRUPT: {
    when: 'The content received does not have the announced length or hash, or does not parse.',
    fix: 'Nothing is applied and the last good snapshot serves; if it happens again, look for a proxy in between that alters data.',
  },
  SNAPSHOT_NO_PREVIOUS: {
    when: 'A rollback was asked for and there is no earlier snapshot to return to.',
    fix: 'Swap in a snapshot that is known to be good.',
  },
  SNAPSHOT_OPTION_INVALID: {
    when: 'An option of this module is out of its documented bounds.',
    fix: 'Correct the named option; its docstring gives the type, the default and the bounds.',
  },
  SNAPSHOT_STREAM_REFUSED: {
    when: 'The controller refused or ended the stream, or broke its protocol.',
    fix: 'Read the reason; the agent serves the last good snapshot and connects again by itself.',
  },
  SNAPSHOT_STREAM_SILENT: {
    when: 'Nothing, not even a heartbeat, came from the controller within silenceTimeoutMs.',
    fix: 'Check that the controller is alive and reachable; the agent connects again by itself.',
  },
  SNAPSHOT_CACHE_UNREADABLE: {
    when: 'The snapshot file is damaged, of another node, too large, or others may write to it. Logged; it counts as absent.',
    fix: 'Nothing, when a controller is reachable: the next snapshot replaces the file. Keep its directory private to the agent.',
  },
});

export type SnapshotErrorCode = keyof typeof snapshotErrorCodes;

export class SnapshotError extends MeshwrightError<SnapshotErrorCode> {}
