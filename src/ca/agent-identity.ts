import { z } from 'zod';
import type { KeyObject } from 'node:crypto';
import { writePem } from '../internal/der/pem.js';
import { TrustBundle, X509Svid, verifyX509Svid } from '../spiffe/index.js';
import type { SpiffeId, TrustDomain } from '../spiffe/index.js';
import type { SvidGrant } from './ca-client.js';
import { CaError } from './errors.js';
import type { SecretFile } from './secret-file.js';

/** An SVID in use, with the bundle it came with and when it was received: its lifetime is counted from there. */
export interface AgentIdentity {
  readonly svid: X509Svid;
  readonly bundle: TrustBundle;
  readonly receivedAtMs: number;
}

export interface IdentityCheck {
  readonly trustDomain: TrustDomain;
  /** Who we are; nothing else is accepted. */
  readonly spiffeId: SpiffeId;
  readonly nowMs: number;
}

/** What a CA granted, as an identity: for our key, our name, and valid under the bundle it came with. Throws `CA_RESPONSE_INVALID`. */
export function identityFromGrant(grant: SvidGrant, privateKey: KeyObject, check: IdentityCheck): AgentIdentity {
  try {
    const chainPem = grant.certificates.map((der) => writePem(der, 'CERTIFICATE')).join('');
    const svid = X509Svid.fromPem({ chainPem, privateKey });
    return verified({ svid, bundle: grant.bundle, receivedAtMs: check.nowMs }, check);
  } catch (cause) {
    throw new CaError('CA_RESPONSE_INVALID', 'the CA granted a certificate that cannot be used', { cause });
  }
}

const documentSchema = z.strictObject({
  format: z.literal('meshwright-identity/1'),
  chainPem: z.string(),
  privateKeyPem: z.string(),
  receivedAtMs: z.number(),
  bundle: z.unknown(),
});

/** The identity kept in `file`; `undefined` when there is none. Throws when it cannot be used: damaged, expired, not ours. */
export async function loadIdentity(file: SecretFile, check: IdentityCheck): Promise<AgentIdentity | undefined> {
  const bytes = await file.read();
  if (bytes === undefined) return undefined;
  let document: z.output<typeof documentSchema>;
  try {
    document = documentSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    // Without its cause, which may quote the key.
    throw new CaError('CA_STORE_CORRUPT', 'the kept identity is damaged');
  }
  const { chainPem, privateKeyPem, receivedAtMs } = document;
  const svid = X509Svid.fromPem({ chainPem, privateKeyPem });
  const bundle = TrustBundle.parse(document.bundle, check.trustDomain);
  if (check.nowMs >= svid.notAfter.getTime()) {
    throw new CaError('CA_SVID_EXPIRED', `the kept SVID ended at ${svid.notAfter.toISOString()}`);
  }
  // A clock set back since must not make the lifetime look longer than it is.
  return verified({ svid, bundle, receivedAtMs: Math.min(receivedAtMs, check.nowMs) }, check);
}

export function saveIdentity(file: SecretFile, { svid, bundle, receivedAtMs }: AgentIdentity): Promise<void> {
  const { chainPem, privateKeyPem } = svid;
  const document = { format: 'meshwright-identity/1', chainPem, privateKeyPem, receivedAtMs, bundle };
  return file.write(Buffer.from(JSON.stringify(document), 'utf8'));
}

function verified(identity: AgentIdentity, { spiffeId, nowMs }: IdentityCheck): AgentIdentity {
  const { certificates } = identity.svid;
  const found = verifyX509Svid({ certificates, bundle: identity.bundle, now: nowMs }).spiffeId;
  if (!found.equals(spiffeId)) {
    throw new CaError('CA_RESPONSE_INVALID', `expected an SVID of ${spiffeId.toString()}, got ${found.toString()}`);
  }
  return Object.freeze(identity);
}
