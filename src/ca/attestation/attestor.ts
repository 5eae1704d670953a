/** What a node sends to prove which node it is. */
export interface AttestationEvidence {
  /** Names the attestor that understands it, such as `join-token` or `kubernetes-token`. */
  readonly type: string;
  /** Secret: in no log, message or audit record. */
  readonly value: string;
}

/** What an attestor has found out. */
export interface Attestation {
  /** The node that sent the evidence: it gets the SVID of this node's agent and no other. */
  readonly node: string;
  /** How it is known, for log and audit, such as `join token of node-7`. Holds nothing secret. */
  readonly how: string;
  /**
   * The last step, taken once and only when nothing else stands against the request: what uses the evidence up, or asks
   * somebody else. When it rejects, nothing is issued.
   */
  readonly confirm?: ((options: AttestationConfirmOptions) => Promise<void>) | undefined;
}

export interface AttestationConfirmOptions {
  /** SHA-256 of the key that the certificate is for, base64url: possession of it has been shown. */
  readonly key: string;
  readonly signal: AbortSignal;
}

/**
 * Decides which node some evidence comes from. Write your own for what vouches for your machines (a TPM, a cloud's
 * instance document) and give it to `caRoutes`.
 *
 * It refuses by rejecting with a `CaError`: one of the codes that fit, or `CA_ATTESTATION_REFUSED`, whose message goes to
 * the node and into the audit log; `CA_ATTESTATION_UNAVAILABLE` makes the node try again. Anything else that it throws is
 * `CA_INTERNAL` to the node, and in the controller's log as it is: the evidence must not be in it. Called before anything
 * is known of the caller, so work that the evidence could multiply must be bounded.
 *
 * @example
 * const inventory: Attestor = {
 *   type: 'serial-number',
 *   attest: async (value) => {
 *     const node = await nodeOfSerialNumber(value);
 *     if (node === undefined) throw new CaError('CA_ATTESTATION_REFUSED', 'no machine has this serial number');
 *     return { node, how: 'inventory' };
 *   },
 * };
 */
export interface Attestor {
  readonly type: string;
  attest(value: string, options: { readonly signal: AbortSignal }): Promise<Attestation>;
}
