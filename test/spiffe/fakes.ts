/** The parts of `meshwright/testing` that these tests use, without the rest of the mesh that its index loads. */
export { FakeClock } from '../../src/testing/fake-clock.js';
export { TestCa } from '../../src/testing/test-ca.js';
export type { TestIdentity, TestJwtSvidOptions, TestTokenOptions } from '../../src/testing/test-ca.js';
export { testCertificate, testPrivateKey } from '../../src/testing/test-certificate.js';
export type { TestCertificateFields, TestKeyType } from '../../src/testing/test-certificate.js';
export { testCertificateDefects } from '../../src/testing/test-certificate-defects.js';
