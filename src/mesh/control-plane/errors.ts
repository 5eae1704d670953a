import { MeshwrightError, defineErrorCodes } from '../../core/index.js';

/** The codes thrown and logged by the control plane's two ends. */
export const controlPlaneErrorCodes = defineErrorCodes({
  MESH_CONTROL_PLANE_LISTEN: {
    when: 'The control-plane server cannot bind its address.',
    fix: 'Choose another address or port, or stop what has it.',
  },
  MESH_CONTROL_PLANE_UNREACHABLE: {
    when: 'The controller cannot be reached, or its TLS handshake fails or takes too long.',
    fix: 'Check that it runs, its address, and the network between.',
  },
  MESH_CONTROL_PLANE_UNTRUSTED: {
    when: 'The certificate of the controller, or of a client of it, does not verify. Nothing was sent to it.',
    fix: 'Check whom the address belongs to, the trust bundles, and the clocks; the message has the defect.',
  },
  MESH_CONTROL_PLANE_DENIED: {
    when: 'A client of the control plane is on the deny list. It is sent the trust bundle, which says so, and nothing else.',
    fix: 'Nothing when it is meant to be; otherwise take it off the list with `meshwright ca allow`.',
  },
  MESH_CONTROL_PLANE_NOT_CONTROLLER: {
    when: 'The server has a valid identity, but not that of the controller. Nothing was sent to it.',
    fix: 'Correct the address: something else of the mesh listens there.',
  },
  MESH_CONTROL_PLANE_PIN_MISMATCH: {
    when: 'The server’s chain does not contain the root that the join token came with. Nothing was sent to it.',
    fix: 'Use the root pin that was given out with the token. If it is right, somebody else answers at that address.',
  },
  MESH_CONTROL_PLANE_PROTOCOL: {
    when: 'The other end does not speak HTTP/2 over TLS 1.3 (no or another ALPN protocol, a resumed session).',
    fix: 'Connect with a gRPC client that offers the ALPN protocol h2, without session resumption.',
  },
  MESH_CONTROL_PLANE_SVID_EXPIRED: {
    when: 'Our own SVID is past its end, so there is nothing to authenticate with.',
    fix: 'Attest again.',
  },
  MESH_CONTROL_PLANE_LIMIT: {
    when: 'There are too many connections, in all, unauthenticated, or of one peer.',
    fix: 'Find out who opens them; raise the limit if they are needed.',
  },
  MESH_CONTROL_PLANE_TIMEOUT: {
    when: 'A client was too slow: handshake, request, or keep-alive.',
    fix: 'Check the network, or who connects and stays silent.',
  },
  MESH_CONTROL_PLANE_CLOSED: {
    when: 'A transport is used after it was closed.',
    fix: 'Make a new one.',
  },
});

export type ControlPlaneErrorCode = keyof typeof controlPlaneErrorCodes;

export class ControlPlaneError extends MeshwrightError<ControlPlaneErrorCode> {}
