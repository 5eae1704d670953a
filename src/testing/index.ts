export { NetnsLab, userNamespaceCommand, whyNetnsUnavailable } from './netns-lab.js';
export type { LinkEnd, NamespaceOptions, NetnsLabOptions } from './netns-lab.js';
export { NetNamespace } from './netns-namespace.js';
export type { ExecOptions, ExecResult } from './netns-command.js';
export { TestingError, testingErrorCodes } from './errors.js';
export type { TestingErrorCode } from './errors.js';
export { FakeClock } from './fake-clock.js';
export type { FakeClockOptions } from './fake-clock.js';
export { TestCa, testIdentity } from './test-ca.js';
export type {
  TestCaOptions,
  TestIdentity,
  TestJwtSvidOptions,
  TestLeafChanges,
  TestSvidOptions,
  TestTokenOptions,
} from './test-ca.js';
export { testCertificate, testPrivateKey } from './test-certificate.js';
export type { TestCertificateFields, TestExtension, TestKeyType } from './test-certificate.js';
export { testCertificateDefects } from './test-certificate-defects.js';
export type { TestCertificateDefect, TestCertificateDefectName } from './test-certificate-defects.js';
export { TestMesh, createTestMesh } from './test-mesh.js';
export type { TestRequestOptions, TestResponse, TestWorkload } from './test-mesh.js';
export { TestNode } from './test-node.js';
export type { TestMeshOptions, TestServer, TestServiceOptions, TestWorkloadOptions } from './test-mesh-options.js';
export { authzMatchers } from './authz-matchers.js';
export type { AuthzMatcherOptions, AuthzMatchers } from './authz-matchers.js';
export { leaseStoreContract } from './lease-store-contract.js';
export type { LeaseStoreContractCase, LeaseStoreHarness } from './lease-store-contract.js';
