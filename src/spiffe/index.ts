export { SpiffeError, spiffeErrorCodes } from './errors.js';
export type { SpiffeErrorCode } from './errors.js';
export { TrustDomain } from './trust-domain.js';
export { SpiffeId } from './spiffe-id.js';
export { agentId, controllerId, isControllerId, readAgentId, readWorkloadId, workloadId } from './mesh-ids.js';
export { globToSegments, matchSegments, spiffeGlob } from './spiffe-glob.js';
export type { GlobSegments } from './spiffe-glob.js';
export { keyThumbprint } from './key-thumbprint.js';
export { X509Svid } from './x509-svid.js';
export type { X509SvidPem } from './x509-svid.js';
export { TrustBundle } from './trust-bundle.js';
export type { TrustBundleOptions } from './trust-bundle.js';
export { BundleSet } from './bundle-set.js';
export { DenyList, maxDenied } from './deny-list.js';
export type { DenyListOptions } from './deny-list.js';
export { workloadTokenKeyUse } from './bundle-document.js';
export type { Jwk } from './public-jwk.js';
export { verifyDeniableX509Svid, verifyX509Svid } from './verify-x509-svid.js';
export type { VerifiedX509Svid, VerifyX509SvidOptions } from './verify-x509-svid.js';
export { peerCertificates } from './peer-certificates.js';
export { handshakeDefect } from './handshake-defect.js';
export type { HandshakeDefect } from './handshake-defect.js';
export {
  defaultWorkloadTokenAudience,
  maxWorkloadTokenLifetimeMs,
  verifyWorkloadToken,
  workloadTokenAlgorithm,
  workloadTokenHeader,
  workloadTokenType,
} from './workload-token.js';
export type { VerifiedWorkloadToken, VerifyWorkloadTokenOptions } from './workload-token.js';
export { maxJwtSvidLifetimeMs, verifyJwtSvid } from './jwt-svid.js';
export type { VerifiedJwtSvid, VerifyJwtSvidOptions } from './jwt-svid.js';
export { toBundleSource, toSvidSource, toTrustSource } from './sources.js';
export type { BundleSource, SvidSource, TrustSource, WorkloadTokenSource } from './sources.js';
export {
  authorizeAgent,
  authorizeController,
  authorizeGlob,
  authorizeId,
  authorizeMemberOf,
  authorizeOneOf,
  refusalOf,
} from './authorizers.js';
export type { PeerAuthorizer } from './authorizers.js';
export { mtlsPeer } from './mtls/peer.js';
export type { MtlsPeer } from './mtls/peer.js';
export type { MtlsEvent } from './mtls/events.js';
export type { MtlsOptions } from './mtls/options.js';
export { createMtlsHttp2Server, createMtlsHttpsServer, createMtlsServer } from './mtls/servers.js';
export type { MtlsHttp2ServerOptions, MtlsHttpsServerOptions, MtlsTlsServerOptions } from './mtls/servers.js';
export { connectMtls } from './mtls/dial.js';
export type { MtlsTarget } from './mtls/dial.js';
export { MtlsAgent, connectMtlsHttp2, mtlsConnector } from './mtls/clients.js';
export type { MtlsAgentOptions, MtlsConnectRequest, MtlsHttp2SessionOptions } from './mtls/clients.js';
export { tlsBaseOptions, tlsIdentityOptions } from './mtls/tls-options.js';
