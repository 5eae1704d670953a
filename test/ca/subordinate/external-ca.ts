/** An external root as its owner has it: signs what it is told to, right or wrong. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { testCertificate, testPrivateKey } from '../../../src/testing/test-certificate.js';
import type { TestCertificateFields, TestKeyType } from '../../../src/testing/test-certificate.js';
import { publicKeyOfCsr } from '../../../src/ca/csr.js';
import { writePem } from '../../../src/internal/der/pem.js';

const dayMs = 86_400_000;

export interface ExternalCa {
  readonly pem: string;
  readonly privateKey: KeyObject;
  readonly name: string;
  /** A CA certificate (PEM) for the key of a request. */
  sign(csrPem: string, changes?: Partial<TestCertificateFields>): string;
  /** A CA below this one. */
  intermediate(name: string, changes?: Partial<TestCertificateFields>): ExternalCa;
}

const signerFields = { ca: { isCa: true }, keyUsage: [5, 6] } as const;

export function externalRoot(
  nowMs: number,
  changes: Partial<TestCertificateFields> = {},
  keyType: TestKeyType = 'P-256',
  name = 'corporate root',
): ExternalCa {
  const key = testPrivateKey(keyType);
  const fields: TestCertificateFields = {
    subject: name,
    issuer: name,
    publicKey: key,
    signingKey: key,
    notBefore: new Date(nowMs - dayMs),
    notAfter: new Date(nowMs + 3650 * dayMs),
    ...signerFields,
    ...changes,
  };
  return authority(name, key, fields, nowMs);
}

function authority(name: string, key: KeyObject, fields: TestCertificateFields, nowMs: number): ExternalCa {
  const below = (
    subject: string,
    publicKey: KeyObject,
    notAfterMs: number,
    changes: Partial<TestCertificateFields>,
  ): TestCertificateFields => ({
    subject,
    issuer: name,
    publicKey,
    signingKey: key,
    notBefore: new Date(nowMs - dayMs),
    notAfter: new Date(notAfterMs),
    ...signerFields,
    ...changes,
  });
  return {
    name,
    privateKey: key,
    pem: writePem(testCertificate(fields), 'CERTIFICATE'),
    sign: (csrPem, changes = {}) => {
      const { spki } = publicKeyOfCsr(csrPem);
      const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
      const made = below('mesh issuing', publicKey, nowMs + 365 * dayMs, changes);
      return writePem(testCertificate(made), 'CERTIFICATE');
    },
    intermediate: (subject, changes = {}) => {
      const inner = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
      return authority(subject, inner, below(subject, inner, nowMs + 700 * dayMs, changes), nowMs);
    },
  };
}
