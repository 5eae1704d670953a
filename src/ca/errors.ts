import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `meshwright/ca`. Those of refusals also travel to agents, as the trailer `meshwright-error-code`. */
export const caErrorCodes = defineErrorCodes({
  CA_EXISTS: {
    when: 'A CA is created in a store that already holds one.',
    fix: 'Use SpiffeCA.open, or another store. A CA is never overwritten.',
  },
  CA_NOT_FOUND: {
    when: 'A CA is opened from a store that holds none.',
    fix: 'Use SpiffeCA.create once, or point the store at the right directory.',
  },
  CA_CLOSED: {
    when: 'The CA, a store or a renewer is used after it was closed.',
    fix: 'Open it again; a closed object stays closed.',
  },
  CA_AUTHORITY_EXPIRED: {
    when: 'The root is past its end, or so close to it that no certificate of the smallest lifetime fits.',
    fix: 'Rotate the root. Check the clock of this machine.',
  },
  CA_CSR_MISSING: {
    when: 'A certificate chain is given to a CA that has no request for one out.',
    fix: 'Make a request, have the external root sign it, and install what comes back.',
  },
  CA_CHAIN_MISSING: {
    when: 'A subordinate CA is opened that has not been given its certificate yet.',
    fix: 'Have the external root sign the request, and install the chain (meshwright ca subordinate install).',
  },
  CA_CHAIN_KEY: {
    when: 'A certificate chain holds no certificate for the key of the request that is out.',
    fix: 'Install the chain that answers the newest request; an older one was withdrawn or replaced.',
  },
  CA_CHAIN_REFUSED: {
    when: 'A certificate chain does not lead to the given root, or peers would not accept what it signs.',
    fix: 'As the message says: have the root sign a CA certificate with key usage keyCertSign, a path length that allows it, no name constraints but URI ones that permit the trust domain, and no other trust domain.',
  },
  CA_SIGNER_MISSING: {
    when: 'The root’s key is held by an external signer, and none with that public key was given.',
    fix: 'Give the signer in the option `signers`.',
  },
  CA_SIGNER_FAILED: {
    when: 'An external signer failed, or returned a signature that does not verify; nothing was issued.',
    fix: 'See the cause; check the signer and its key.',
  },
  CA_ROTATION_PHASE: {
    when: 'A step of a rotation is asked for that does not follow from where the rotation is.',
    fix: 'Look at the status; the order is prepare, activate, retire.',
  },
  CA_ROTATION_NOT_READY: {
    when: 'A step of a rotation would cut off something that is valid: SVIDs or tokens under the old key, or agents that have not seen the new one.',
    fix: 'Wait until the time in the message; force it only when the old key is compromised.',
  },
  CA_DENIED: {
    when: 'The identity, or its node, is on the deny list of the CA.',
    fix: 'Nothing, if it was denied on purpose; otherwise take it off the list.',
  },
  CA_DENY_LIST_FULL: {
    when: 'The deny list has no room.',
    fix: 'Take entries off; rotate the root to be rid of many certificates at once.',
  },
  CA_AUDIT_BROKEN: {
    when: 'A record of the audit log was changed, left out, put in or cut off.',
    fix: 'Keep the file as evidence, compare it with a copy, and start a new one.',
  },
  CA_AUDIT_FAILED: {
    when: 'The audit log cannot be read or written; the CA does nothing that it cannot record.',
    fix: 'Correct what the cause says, then open the CA again.',
  },
  CA_STORE_CORRUPT: {
    when: 'What the store holds cannot be read, decrypted or understood, or part of it is missing.',
    fix: 'Restore the directory from a backup, or give the right key. Nothing was changed; no new root was made.',
  },
  CA_STORE_KEY_INVALID: {
    when: 'The key of a store cannot be used: missing, readable by others, not 32 bytes, an empty passphrase, or the wrong one.',
    fix: 'Give the key file or passphrase the store was made with; a key file must have mode 0600.',
  },
  CA_STORE_LOCKED: {
    when: 'Another process has the store open.',
    fix: 'Stop that process. If none is running on any machine, remove the file named in the message.',
  },
  CA_STORE_FAILED: {
    when: 'The store cannot be read or written (permissions, full disk).',
    fix: 'Correct what the cause says; nothing was issued.',
  },
  CA_REQUEST_INVALID: {
    when: 'A request to the CA is malformed: neither or both of public key and CSR, a bad lifetime, a bad message.',
    fix: 'Correct the request as the message says.',
  },
  CA_SPIFFE_ID_REFUSED: {
    when: 'The SPIFFE ID may not be issued here: another trust domain, no path, or a kind this call never issues.',
    fix: 'Ask for an ID of the CA’s own trust domain; controller IDs are issued in the controller’s process only.',
  },
  CA_CSR_MALFORMED: {
    when: 'A certificate signing request is not PKCS #10 in DER or PEM.',
    fix: 'Send a request such as `openssl req -new` makes.',
  },
  CA_CSR_SIGNATURE: {
    when: 'A certificate signing request is not signed by the key in it, or by an algorithm that is not accepted.',
    fix: 'Sign the request with its own key: ECDSA with SHA-256 or SHA-384, or Ed25519.',
  },
  CA_KEY_REFUSED: {
    when: 'A public key is not of an accepted kind.',
    fix: 'Use ECDSA P-256 (or P-384) or Ed25519.',
  },
  CA_UNAUTHENTICATED: {
    when: 'A call that needs a verified client certificate came without one.',
    fix: 'Call with the agent’s own SVID.',
  },
  CA_NODE_UNKNOWN: {
    when: 'The agent of a node that is not (or no longer) part of the mesh asked to join or to renew.',
    fix: "Add the node's manifest again, or let the certificate end.",
  },
  CA_NOT_AN_AGENT: {
    when: 'The caller’s verified identity is not an agent of the CA’s trust domain.',
    fix: 'Call with an SVID of the form spiffe://<trust domain>/agent/<node>.',
  },
  CA_SVID_EXPIRED: {
    when: 'An SVID is past its end: it is never renewed.',
    fix: 'Attest again, with a new join token or a Kubernetes token.',
  },
  CA_NOT_ATTESTED: {
    when: 'An agent starts without a usable SVID on disk and without a way to attest.',
    fix: 'Give it a join token with its root pin, or a Kubernetes token and the pin.',
  },
  CA_JOIN_TOKEN_UNKNOWN: {
    when: 'A join token is malformed or was never issued by this CA (or is long gone).',
    fix: 'Make a new join token for the node.',
  },
  CA_JOIN_TOKEN_USED: {
    when: 'A join token was used before.',
    fix: 'Make a new join token. If the node did not use it itself, someone else did: look into it.',
  },
  CA_JOIN_TOKEN_EXPIRED: {
    when: 'A join token is past its end.',
    fix: 'Make a new join token and use it in time.',
  },
  CA_JOIN_TOKEN_LIMIT: {
    when: 'There are too many unused join tokens.',
    fix: 'Let some expire or be used before making more.',
  },
  CA_ATTESTATION_UNKNOWN: {
    when: 'A node attests by a kind of evidence that this CA has no attestor for, or by more than one.',
    fix: 'Configure that attestor at the controller, or let the agent join by what the controller takes.',
  },
  CA_ATTESTATION_REFUSED: {
    when: 'An attestor does not take the evidence of a node, or names a node that cannot be one.',
    fix: 'As the message of the attestor says.',
  },
  CA_ATTESTATION_UNAVAILABLE: {
    when: 'Whoever could confirm the evidence of a node cannot be asked now, such as the API server for its keys or a review.',
    fix: 'See the cause in the controller’s log: the address, authorities and bearer token of the API server, and the right to create tokenreviews. Agents try again.',
  },
  CA_ATTESTATION_LIMIT: {
    when: 'A node, or all together, used more evidence within a day than can be remembered.',
    fix: 'Find out why the agent joins so often: keep its data directory over restarts.',
  },
  CA_KUBERNETES_TOKEN_MALFORMED: {
    when: 'A Kubernetes token is not a compact JWS with the claims of a service account token.',
    fix: 'Give the agent the file of a projected service-account token.',
  },
  CA_KUBERNETES_TOKEN_ALGORITHM: {
    when: 'A Kubernetes token has a signature algorithm that is not accepted, or one that its key does not make.',
    fix: 'Look at the header of the token: only RS256, ES256, ES384 and ES512 are accepted.',
  },
  CA_KUBERNETES_TOKEN_KEY_UNKNOWN: {
    when: 'A Kubernetes token is signed by a key that the issuer’s key set does not hold.',
    fix: 'Check that the controller has the keys of the cluster that the agent runs in.',
  },
  CA_KUBERNETES_TOKEN_SIGNATURE: {
    when: 'The signature of a Kubernetes token does not verify.',
    fix: 'Somebody changed or forged it: look into it.',
  },
  CA_KUBERNETES_TOKEN_ISSUER: {
    when: 'A Kubernetes token is of another issuer.',
    fix: 'Give the controller the issuer of the cluster (kubectl get --raw /.well-known/openid-configuration).',
  },
  CA_KUBERNETES_TOKEN_SUBJECT: {
    when: 'A Kubernetes token is not of the agents’ service account.',
    fix: 'Run the agent under the service account that the controller is configured with.',
  },
  CA_KUBERNETES_TOKEN_AUDIENCE: {
    when: 'A Kubernetes token is not for the controller’s audience, or not for it alone.',
    fix: 'Set `audience` of the projected volume to the controller’s.',
  },
  CA_KUBERNETES_TOKEN_LIFETIME: {
    when: 'A Kubernetes token never ends, as that of a secret does, or lives longer than is accepted.',
    fix: 'Use a projected token, with an `expirationSeconds` within the controller’s bound.',
  },
  CA_KUBERNETES_TOKEN_EXPIRED: {
    when: 'A Kubernetes token is past its end.',
    fix: 'The kubelet replaces the file in time; check it, and the clocks of node and controller.',
  },
  CA_KUBERNETES_TOKEN_NOT_YET_VALID: {
    when: 'A Kubernetes token begins in the future, by more than clocks may differ.',
    fix: 'Correct the clock of the controller or of the API server.',
  },
  CA_KUBERNETES_TOKEN_NOT_BOUND: {
    when: 'A Kubernetes token does not say which pod and node it is bound to, or the cluster had no such node.',
    fix: 'Use a projected token of Kubernetes 1.30 or later; one made by `kubectl create token` is not bound to a pod on a node.',
  },
  CA_KUBERNETES_TOKEN_USED: {
    when: 'A Kubernetes token was used before.',
    fix: 'The agent waits for the kubelet to replace it. If the agent did not use it, someone else did: look into it.',
  },
  CA_KUBERNETES_REVIEW_REFUSED: {
    when: 'The API server does not accept a Kubernetes token that its own key has signed.',
    fix: 'Its pod or service account was deleted, its key was taken out of the issuer, or the audience is not the token’s: see the controller’s log.',
  },
  CA_KUBERNETES_REVIEW_MISMATCH: {
    when: 'The API server says something else about a Kubernetes token than the token itself.',
    fix: 'Check that keys and API server are of the same cluster, of version 1.30 or later.',
  },
  CA_WORKLOAD_NOT_ON_NODE: {
    when: 'A workload token was asked for a workload that the registry does not place on the calling node.',
    fix: 'Nothing, if the pod is gone or elsewhere. Otherwise check what the controller knows about the node.',
  },
  CA_REGISTRY_FAILED: {
    when: 'The workload registry could not answer; the token is refused.',
    fix: 'See the cause, in the CA’s log.',
  },
  CA_RATE_LIMITED: {
    when: 'A node asks too often.',
    fix: 'Wait and try again; raise the limit if the node really needs more.',
  },
  CA_RESPONSE_INVALID: {
    when: 'What the CA answered does not fit what was asked: another identity or key, a chain or token that does not verify.',
    fix: 'Check that the agent talks to the right controller and that both run compatible versions.',
  },
  CA_UNAVAILABLE: {
    when: 'The CA could not be reached, or did not answer in time.',
    fix: 'Check the controller and the network. What is still valid goes on serving meanwhile.',
  },
  CA_TOKEN_UNAVAILABLE: {
    when: 'No valid workload token is at hand for the key asked for, and none could be had.',
    fix: 'See the cause; the connection that needed it is refused.',
  },
  CA_INTERNAL: {
    when: 'The CA failed in a way that is not the caller’s doing.',
    fix: 'See the CA’s log.',
  },
});

export type CaErrorCode = keyof typeof caErrorCodes;

export class CaError extends MeshwrightError<CaErrorCode> {}

/** Whether `code` is one of this module's, as for a code that came over the wire. */
export function isCaErrorCode(code: string | null | undefined): code is CaErrorCode {
  return typeof code === 'string' && Object.hasOwn(caErrorCodes, code);
}
