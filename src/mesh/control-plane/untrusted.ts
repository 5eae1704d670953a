import { describeError } from '../../core/index.js';
import { ControlPlaneError } from './errors.js';

/** Runs a check of the server's certificate; what it throws becomes `MESH_CONTROL_PLANE_UNTRUSTED`. */
export function untrusted<T>(check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (cause instanceof ControlPlaneError) throw cause;
    const message = `the controller is not trusted, and nothing was sent to it: ${describeError(cause)}`;
    throw new ControlPlaneError('MESH_CONTROL_PLANE_UNTRUSTED', message, { cause });
  }
}
