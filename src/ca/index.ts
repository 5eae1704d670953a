export { CaError, caErrorCodes } from './errors.js';
export type { CaErrorCode } from './errors.js';
export type { CaEvent, CaOperation } from './events.js';
export type { CaCertificateEnd } from './certificate-ends.js';
export { SpiffeCA } from './spiffe-ca.js';
export type {
  SpiffeCACreateOptions,
  SpiffeCAInstallOptions,
  SpiffeCAOpenOptions,
  SubordinateRequestOptions,
} from './spiffe-ca-options.js';
export type { IssuedX509Svid, X509SvidRequest } from './x509-svid-issuer.js';
export { ExternalRoot } from './subordinate/external-root.js';
export type { CaRequestOptions, ExternalRootStatus } from './subordinate/external-root.js';
export type { CaKeyOptions } from './subordinate/ca-request.js';
export type { IssuedChain } from './subordinate/accept-chain.js';
export { KeyRotation } from './key-rotation.js';
export type {
  ForceOptions,
  PrepareOptions,
  RotationPhase,
  RotationStatus,
  RotationStepOptions,
} from './key-rotation.js';
export { CaDenyList } from './ca-deny-list.js';
export type { DenyRequest } from './ca-deny-list.js';
export { denialKinds } from './denial.js';
export type { Denial, DenialKind } from './denial.js';
export { fileAuditLog } from './audit-log.js';
export type { AuditLog, FileAuditLog, FileAuditLogOptions } from './audit-log.js';
export type { AuditEntry, AuditRecord, ChainEnd } from './audit-record.js';
export { readAuditLog, verifyAuditLog } from './verify-audit-log.js';
export type { AuditVerification } from './verify-audit-log.js';
export { caAdminCalls } from './ca-admin.js';
export type { CaAdminCall, CaAdminOptions } from './ca-admin.js';
export { caKeyTypes, localSigner } from './signer.js';
export type { CaKeyType, SignatureAlgorithm, Signer } from './signer.js';
export { createCsr } from './csr.js';
export { keyTypeName } from './public-key.js';
export type { PublicKeyInput } from './public-key.js';
export type { WorkloadRegistry } from './workload-registry.js';
export { WorkloadTokenIssuer } from './workload-token-issuer.js';
export type { IssuedWorkloadToken, WorkloadTokenIssuerOptions, WorkloadTokenRequest } from './workload-token-issuer.js';
export { JwtSvidIssuer } from './jwt-svid-issuer.js';
export type { IssuedJwtSvid, JwtSvidIssuerOptions, JwtSvidRequest } from './jwt-svid-issuer.js';
export { JoinTokens } from './join-tokens.js';
export type { JoinToken, JoinTokenRequest } from './join-tokens.js';
export type { Attestation, AttestationConfirmOptions, AttestationEvidence, Attestor } from './attestation/attestor.js';
export { joinTokenAttestor } from './attestation/join-token-attestor.js';
export { kubernetesTokenAttestor } from './attestation/kubernetes-attestor.js';
export type { KubernetesTokenAttestorOptions } from './attestation/kubernetes-attestor.js';
export { kubernetesTokenAlgorithms } from './attestation/kubernetes-token.js';
export type { KubernetesTokenAlgorithm } from './attestation/kubernetes-token.js';
export type { FetchLike, KubernetesServerOptions } from './attestation/kubernetes-server.js';
export { kubernetesTokenFile } from './attestation/kubernetes-token-file.js';
export { rootPinFile } from './attestation/root-pin-file.js';
export { UsedEvidence } from './attestation/used-evidence.js';
export type { EvidenceUse, UsedEvidenceOptions } from './attestation/used-evidence.js';
export { matchesRootPin, rootPinOf } from './root-pin.js';
export type { CaDocument, CaStore } from './store.js';
export { memoryStore } from './memory-store.js';
export { fileStore } from './file-store.js';
export type { FileStoreOptions } from './file-store.js';
export type { StoreKeySource } from './store-key.js';
export { caRoutes, joinMethodPath, watchBundleMethodPath } from './ca-routes.js';
export type { CaPeer, CaRoutesOptions } from './ca-routes.js';
export { CaClient } from './ca-client.js';
export type { CallOptions, CaClientOptions, SvidGrant } from './ca-client.js';
export { SvidRenewer } from './svid-renewer.js';
export type { SvidRenewerOptions, SvidRenewerStatus } from './svid-renewer.js';
export type { SvidRequest } from './obtain-identity.js';
export { localGrants } from './local-grants.js';
export { followBundle } from './follow-bundle.js';
export type { FollowBundleOptions } from './follow-bundle.js';
export { WorkloadTokenCache } from './workload-token-cache.js';
export type { FreshToken, PrefetchOptions, TokenRequest, WorkloadTokenCacheOptions } from './workload-token-cache.js';
export { secretFile } from './secret-file.js';
export type { SecretFile } from './secret-file.js';
