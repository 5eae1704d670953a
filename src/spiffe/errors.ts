import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** Every code this module throws, with what it means and what to do. */
export const spiffeErrorCodes = defineErrorCodes({
  SPIFFE_TRUST_DOMAIN_MALFORMED: {
    when: 'A trust domain name is empty, too long, or has a character the SPIFFE ID standard does not allow.',
    fix: 'Use 1 to 255 characters of a-z, 0-9, dot, dash and underscore, such as cluster.local; no scheme, port or upper case.',
  },
  SPIFFE_ID_MALFORMED: {
    when: 'A SPIFFE ID, or a name that becomes part of one, does not follow the SPIFFE ID standard.',
    fix: 'Write spiffe://<trust domain>/<segment>/…, segments of letters, digits, dot, dash and underscore, 2048 bytes at most.',
  },
  SPIFFE_GLOB_MALFORMED: {
    when: 'A glob uses syntax other than *, ** (a whole segment) and ?, or could never match.',
    fix: 'Write one pattern per alternative; braces, classes, extended globs, negation and backslash are not supported.',
  },
  SPIFFE_SVID_MALFORMED: {
    when: 'The PEM of an X.509-SVID or of its private key does not parse.',
    fix: 'Give a PEM chain, leaf first, and the PKCS#8 private key of the leaf.',
  },
  SPIFFE_SVID_KEY_MISMATCH: {
    when: "The private key is not that of the X.509-SVID's leaf certificate.",
    fix: 'Load key and chain that were issued together.',
  },
  SPIFFE_BUNDLE_MALFORMED: {
    when: 'A trust bundle is not in the SPIFFE bundle format, or holds an authority that is no certification authority or key.',
    fix: 'Fetch the bundle anew from its CA; it is a JWKS whose keys have use x509-svid (one certificate in x5c), jwt-svid or meshwright-workload-token.',
  },
  SPIFFE_BUNDLE_AMBIGUOUS: {
    when: 'Two bundles of one trust domain are given where each domain has one.',
    fix: 'Merge them into one TrustBundle, or leave one out.',
  },
  SPIFFE_X509_MISSING: {
    when: 'The peer sent no certificate.',
    fix: 'Configure the peer with an X.509-SVID and request client certificates.',
  },
  SPIFFE_X509_MALFORMED: {
    when: 'A certificate of the chain is not a DER encoded X.509 version 3 certificate.',
    fix: 'Look at what the peer sent with openssl x509; issue it anew.',
  },
  SPIFFE_X509_LIMIT: {
    when: 'The chain has too many or too large certificates, or takes too many signature checks.',
    fix: 'Send the leaf and the intermediates between it and the root only.',
  },
  SPIFFE_X509_URI_SAN: {
    when: 'The leaf certificate does not carry exactly one URI subject alternative name.',
    fix: 'Issue X.509-SVIDs with exactly one URI name, the SPIFFE ID.',
  },
  SPIFFE_X509_SPIFFE_ID: {
    when: 'The URI name of a certificate is not a SPIFFE ID, or a leaf has one without a path, or a signing certificate one with a path.',
    fix: 'Issue the certificate with a SPIFFE ID as the X.509-SVID standard has it.',
  },
  SPIFFE_X509_TRUST_DOMAIN: {
    when: 'The SPIFFE ID of the peer belongs to another trust domain than the bundle it is verified against.',
    fix: 'Connect peers of one trust domain, or verify with the bundle of theirs.',
  },
  SPIFFE_X509_CA: {
    when: 'A leaf certificate is a CA certificate, or a certificate that signed another one is not.',
    fix: 'Present a leaf; sign leaves with a CA certificate (basicConstraints CA, within its path length).',
  },
  SPIFFE_X509_KEY_USAGE: {
    when: 'The key usage of a leaf lacks digitalSignature or has keyCertSign or cRLSign, or that of an issuer lacks keyCertSign.',
    fix: 'Issue leaves with key usage digitalSignature, CA certificates with keyCertSign.',
  },
  SPIFFE_X509_EXTENDED_KEY_USAGE: {
    when: 'The extended key usage is present without both serverAuth and clientAuth.',
    fix: 'Issue with both, since every peer is client and server.',
  },
  SPIFFE_X509_CRITICAL_EXTENSION: {
    when: 'A certificate has a critical extension, or name constraints, that this verifier does not evaluate: of name constraints it evaluates those on URI names, in CA certificates.',
    fix: 'Issue without it.',
  },
  SPIFFE_X509_NAME_CONSTRAINTS: {
    when: 'A CA certificate of the chain has name constraints that do not permit the trust domain of a certificate below it.',
    fix: 'Sign for the trust domain under another CA, or have one issued whose URI name constraints permit its name.',
  },
  SPIFFE_X509_DENIED: {
    when: 'The serial number, the SPIFFE ID or the node of a certificate is on the deny list of the trust bundle.',
    fix: 'Nothing, if it was denied on purpose; otherwise take it off the list at the CA.',
  },
  SPIFFE_X509_EXPIRED: {
    when: 'A certificate of the chain is past its end.',
    fix: 'Renew it; check that renewal runs and that the clocks agree.',
  },
  SPIFFE_X509_NOT_YET_VALID: {
    when: 'A certificate of the chain begins in the future, beyond the clock skew that is allowed.',
    fix: 'Synchronise the clocks of the CA and of this machine.',
  },
  SPIFFE_X509_ALGORITHM: {
    when: 'A key or signature algorithm is not one of ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits, with SHA-2.',
    fix: 'Issue with one of these; ECDSA P-256 is the default everywhere.',
  },
  SPIFFE_X509_SIGNATURE: {
    when: 'The signature of a certificate was not made by the issuer that it names.',
    fix: 'The certificate is forged, damaged, or of a root that was replaced under the same name: issue it anew.',
  },
  SPIFFE_X509_UNTRUSTED: {
    when: "No chain leads from the leaf to an authority of the trust domain's bundle.",
    fix: 'Refresh the bundle, or have the peer send its intermediates.',
  },
  SPIFFE_TOKEN_MALFORMED: {
    when: 'A workload token is not a compact JWS of at most 8 KiB with the claims iss, sub, aud, node, cnf.jkt, iat, nbf, exp and jti.',
    fix: 'Send the token as the CA issued it.',
  },
  SPIFFE_TOKEN_TYPE: {
    when: 'A token is not of type meshwright-workload+jwt or not signed with ES256; JWT-SVIDs are never accepted here.',
    fix: 'Send a workload token in the workload token header.',
  },
  SPIFFE_TOKEN_SIGNATURE: {
    when: 'A workload token names no key of the bundle, or its signature does not verify.',
    fix: 'Refresh the bundle; if it is fresh, the token is forged.',
  },
  SPIFFE_TOKEN_DENIED: {
    when: 'The workload or the node of a token is on the deny list of the trust bundle.',
    fix: 'Nothing, if it was denied on purpose; otherwise take it off the list at the CA.',
  },
  SPIFFE_TOKEN_EXPIRED: {
    when: 'A workload token is past its end.',
    fix: 'Fetch a fresh one; check that the clocks agree.',
  },
  SPIFFE_TOKEN_NOT_YET_VALID: {
    when: 'A workload token begins in the future, beyond the clock skew that is allowed.',
    fix: 'Synchronise the clocks of the CA and of this machine.',
  },
  SPIFFE_TOKEN_LIFETIME: {
    when: 'A workload token is made for longer than 24 hours, or ends before it begins.',
    fix: 'Issue short tokens; the default is one hour.',
  },
  SPIFFE_TOKEN_AUDIENCE: {
    when: 'A workload token is made for another audience.',
    fix: 'Issue it for the audience that this receiver expects.',
  },
  SPIFFE_TOKEN_ISSUER: {
    when: 'A workload token is issued by another trust domain.',
    fix: 'Use the bundle of that trust domain, if it is to be trusted at all.',
  },
  SPIFFE_TOKEN_SUBJECT: {
    when: 'The subject of a workload token is not spiffe://<trust domain>/ns/<namespace>/sa/<service account> of the issuing trust domain.',
    fix: 'Issue workload tokens for workloads only.',
  },
  SPIFFE_TOKEN_NODE_MISMATCH: {
    when: 'A workload token was issued to another node than the TLS peer that presents it.',
    fix: 'None for the caller: it presents what is not its own. Look at who does.',
  },
  SPIFFE_TOKEN_KEY_MISMATCH: {
    when: 'A workload token is bound to another key than that of the TLS peer that presents it.',
    fix: 'After a renewal, fetch tokens for the new key; otherwise the token is stolen.',
  },
  SPIFFE_JWT_MALFORMED: {
    when: 'A JWT-SVID is not a compact JWS of at most 8 KiB with the claims sub, aud and exp.',
    fix: 'Send the token as the CA issued it, in compact form.',
  },
  SPIFFE_JWT_TYPE: {
    when: 'A token is not of typ JWT or JOSE (or without one), or its algorithm is none that JWT-SVIDs may have; workload tokens are never accepted here.',
    fix: 'Send a JWT-SVID; EdDSA, HMAC and unsigned tokens are not JWT-SVIDs.',
  },
  SPIFFE_JWT_SUBJECT: {
    when: 'The subject of a JWT-SVID is not a SPIFFE ID with a path.',
    fix: 'Issue it for the SPIFFE ID of a workload.',
  },
  SPIFFE_JWT_TRUST_DOMAIN: {
    when: 'The subject of a JWT-SVID belongs to a trust domain whose bundle is not at hand.',
    fix: 'Add the bundle of that trust domain, if it is to be trusted at all.',
  },
  SPIFFE_JWT_SIGNATURE: {
    when: "A JWT-SVID was not signed by a JWT-SVID key of its subject's trust domain.",
    fix: 'Refresh the bundle; if it is fresh, the token is forged.',
  },
  SPIFFE_JWT_DENIED: {
    when: 'The subject of a JWT-SVID is on the deny list of its trust bundle.',
    fix: 'Nothing, if it was denied on purpose; otherwise take it off the list at the CA.',
  },
  SPIFFE_JWT_EXPIRED: {
    when: 'A JWT-SVID is past its end.',
    fix: 'Fetch a fresh one; check that the clocks agree.',
  },
  SPIFFE_JWT_NOT_YET_VALID: {
    when: 'A JWT-SVID begins in the future, beyond the clock skew that is allowed.',
    fix: 'Synchronise the clocks of the CA and of this machine.',
  },
  SPIFFE_JWT_AUDIENCE: {
    when: 'A JWT-SVID is made for other audiences.',
    fix: 'Issue it for the audience that this receiver expects.',
  },
  SPIFFE_MTLS_SVID_EXPIRED: {
    when: 'Our own X.509-SVID is past its end when a connection is made.',
    fix: 'Renew it or attest again; check that renewal runs.',
  },
  SPIFFE_MTLS_FAILED: {
    when: 'The peer cannot be reached, or the TLS 1.3 handshake with it fails.',
    fix: 'See the cause; check the address, and that the peer speaks TLS 1.3.',
  },
  SPIFFE_MTLS_TIMEOUT: {
    when: 'Connection and handshake take longer than `handshakeTimeoutMs`.',
    fix: 'Check the network and the peer; raise the bound if they are slow by nature.',
  },
  SPIFFE_MTLS_RESUMED: {
    when: 'The peer resumed a TLS session, which shows no certificate.',
    fix: 'Connect with a full handshake; sessions are never resumed here.',
  },
  SPIFFE_MTLS_ALPN: {
    when: 'The peer does not speak the application protocol that was asked for.',
    fix: 'Connect to a server of that protocol; HTTP/2 needs ALPN h2.',
  },
  SPIFFE_MTLS_NOT_AUTHORIZED: {
    when: 'The peer verifies, but `authorizePeer` does not welcome it, or throws.',
    fix: 'Check the SPIFFE ID in the message against the authorizer.',
  },
});

export type SpiffeErrorCode = keyof typeof spiffeErrorCodes;

export class SpiffeError extends MeshwrightError<SpiffeErrorCode> {}
