import { Code, ConnectError } from '@connectrpc/connect';
import { describeError } from '../core/index.js';
import { CaError, isCaErrorCode } from './errors.js';
import type { CaErrorCode } from './errors.js';

/** Carries the code of a refusal beside the gRPC status, whose codes are too coarse to act on. */
const codeTrailer = 'meshwright-error-code';

/** The gRPC status of each refusal; anything else is `internal`. */
const statusOf: Readonly<Partial<Record<CaErrorCode, Code>>> = {
  CA_REQUEST_INVALID: Code.InvalidArgument,
  CA_CSR_MALFORMED: Code.InvalidArgument,
  CA_CSR_SIGNATURE: Code.InvalidArgument,
  CA_KEY_REFUSED: Code.InvalidArgument,
  CA_UNAUTHENTICATED: Code.Unauthenticated,
  CA_JOIN_TOKEN_UNKNOWN: Code.Unauthenticated,
  CA_JOIN_TOKEN_USED: Code.Unauthenticated,
  CA_JOIN_TOKEN_EXPIRED: Code.Unauthenticated,
  CA_SVID_EXPIRED: Code.Unauthenticated,
  CA_ATTESTATION_UNKNOWN: Code.Unauthenticated,
  CA_ATTESTATION_REFUSED: Code.Unauthenticated,
  CA_ATTESTATION_UNAVAILABLE: Code.Unavailable,
  CA_ATTESTATION_LIMIT: Code.ResourceExhausted,
  CA_KUBERNETES_TOKEN_MALFORMED: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_ALGORITHM: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_KEY_UNKNOWN: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_SIGNATURE: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_ISSUER: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_SUBJECT: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_AUDIENCE: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_LIFETIME: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_EXPIRED: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_NOT_YET_VALID: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_NOT_BOUND: Code.Unauthenticated,
  CA_KUBERNETES_TOKEN_USED: Code.Unauthenticated,
  CA_KUBERNETES_REVIEW_REFUSED: Code.Unauthenticated,
  CA_KUBERNETES_REVIEW_MISMATCH: Code.Unauthenticated,
  CA_NODE_UNKNOWN: Code.PermissionDenied,
  CA_NOT_AN_AGENT: Code.PermissionDenied,
  CA_DENIED: Code.PermissionDenied,
  CA_SPIFFE_ID_REFUSED: Code.PermissionDenied,
  CA_WORKLOAD_NOT_ON_NODE: Code.PermissionDenied,
  CA_RATE_LIMITED: Code.ResourceExhausted,
  CA_REGISTRY_FAILED: Code.Unavailable,
  CA_CLOSED: Code.Unavailable,
};

/** `error` as the gRPC status a client gets. What is not a refusal is not explained to it. */
export function toWireError(error: CaError): ConnectError {
  const status = statusOf[error.code];
  const code = status === undefined ? 'CA_INTERNAL' : error.code;
  const message = status === undefined ? 'the CA could not do this; its log says why' : error.message;
  return new ConnectError(message, status ?? Code.Internal, { [codeTrailer]: code });
}

/** What a failed call means to its caller: the CA's own refusal, or `CA_UNAVAILABLE` when it did not come to one. */
export function fromWireError(error: unknown, operation: string): CaError {
  if (error instanceof CaError) return error;
  if (!(error instanceof ConnectError)) {
    return new CaError('CA_UNAVAILABLE', `the CA could not ${operation}: ${describeError(error)}`, { cause: error });
  }
  const trailer = error.metadata.get(codeTrailer);
  const code = isCaErrorCode(trailer)
    ? trailer
    : error.code === Code.Unauthenticated
      ? 'CA_UNAUTHENTICATED'
      : undefined;
  // Without describeError: a ConnectError repeats the message of its cause.
  if (code === undefined) {
    return new CaError('CA_UNAVAILABLE', `the CA could not ${operation}: ${error.rawMessage}`, { cause: error });
  }
  return new CaError(code, `the CA refused to ${operation}: ${error.rawMessage}`, { cause: error });
}
