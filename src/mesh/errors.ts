import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `mesh`. */
export const meshErrorCodes = defineErrorCodes({
  MESH_STATE_INVALID: {
    when: 'A mesh state (resources of a snapshot) does not match the schema, or two of its parts contradict each other.',
    fix: 'Correct the named field; an agent that is sent such a snapshot refuses it whole and keeps the last good one.',
  },
  MESH_ADMIN_PATH: {
    when: 'The path of the admin socket is taken by another process, or by a file that is no socket.',
    fix: 'Stop the other process, or set another path.',
  },
  MESH_ADMIN_UNREACHABLE: {
    when: 'Nothing answers at the path of an admin socket.',
    fix: 'Start the agent or controller, give the path its configuration names, and call as the user that owns the socket.',
  },
  MESH_ADMIN_FAILED: {
    when: 'A call to the admin socket was refused or failed.',
    fix: "The message has the reason; the agent's or controller's log has more.",
  },
  MESH_LEASE_FAILED: {
    when: 'A lease could not be taken, renewed or given back at the controller: it refused, or did not answer.',
    fix: 'The message has the reason; a node can hold the leases of the virtual IPs that are assigned to it, nothing else.',
  },
});

export type MeshErrorCode = keyof typeof meshErrorCodes;

export class MeshError extends MeshwrightError<MeshErrorCode> {}
