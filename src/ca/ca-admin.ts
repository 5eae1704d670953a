import { z } from 'zod';
import type { FileAuditLog } from './audit-log.js';
import { denialKinds } from './denial.js';
import { CaError } from './errors.js';
import type { KeyRotation } from './key-rotation.js';
import { caKeyTypes } from './signer.js';
import type { SpiffeCA } from './spiffe-ca.js';

export interface CaAdminOptions {
  readonly ca: SpiffeCA;
  /** Who calls, for the audit log: such as `admin socket`, or `operator alice`. */
  readonly who: string;
  /** The CA's own, so that it can be named and its end be told. */
  readonly audit?: FileAuditLog | undefined;
}

/** What can be asked of a CA by whoever administers it. */
export type CaAdminCall =
  'ca-show' | 'ca-bundle' | 'ca-rotate' | 'ca-csr' | 'ca-install' | 'ca-deny' | 'ca-token' | 'ca-audit';

const text = z.string().max(2048);
const nothing = z.strictObject({}).optional();
const rotateRequest = z.strictObject({
  /** Default `root`. */
  key: z.enum(['root', 'token-key', 'jwt-key']).default('root'),
  step: z.enum(['status', 'prepare', 'activate', 'retire', 'cancel']),
  force: z.boolean().optional(),
  reason: text.optional(),
  /** Of a new root. */
  keyType: z.enum(caKeyTypes).optional(),
  /** Of a new root. */
  ttlMs: z.number().optional(),
});
const csrRequest = z.strictObject({
  /** Of the new key. */
  keyType: z.enum(caKeyTypes).optional(),
  /** Makes a new request even if one is out. */
  replace: z.boolean().optional(),
  /** Forgets the one that is out instead. */
  withdraw: z.boolean().optional(),
  reason: text.optional(),
});
const pem = z.string().max(64 * 1024);
const installRequest = z.strictObject({ chainPem: pem, rootPem: pem, reason: text.optional() });
const denyRequest = z.strictObject({
  kind: z.enum(denialKinds),
  value: text,
  /** Takes the entry off instead. */
  remove: z.boolean().optional(),
  reason: text.optional(),
  ttlMs: z.number().optional(),
});
const tokenRequest = z.strictObject({ node: text.min(1), ttlMs: z.number().optional() });

/**
 * The operations of an administrator as calls from JSON to JSON: for `AdminSocket`, through which a running controller is
 * asked, and for the command line on a CA that nobody has open. Each step goes to the CA's audit log as `who`'s.
 *
 * They are all-powerful, and there is no call that issues a certificate: nodes join, and everything else is for a process
 * that holds the CA. A request of another shape is `CA_REQUEST_INVALID`; otherwise they reject as the CA's own methods do.
 */
export function caAdminCalls(
  options: CaAdminOptions,
): Readonly<Record<CaAdminCall, (request: unknown) => Promise<unknown>>> {
  const { ca, who: by, audit } = options;
  const call =
    <T>(shape: z.ZodType<T>, run: (request: T) => unknown) =>
    async (request: unknown): Promise<unknown> =>
      run(parsed(shape, request));
  return Object.freeze({
    'ca-show': call(nothing, () => describe(ca)),
    'ca-bundle': call(nothing, () => ({
      trustDomain: ca.trustDomain.name,
      bundle: ca.bundle.current,
      x509AuthoritiesPem: ca.bundle.current.x509AuthoritiesPem,
    })),
    'ca-rotate': call(rotateRequest, ({ key, step, force, reason, keyType, ttlMs }) => {
      const rotation = rotationOf(ca, key);
      if (step === 'status') return rotation.status;
      if (step === 'prepare') return rotation.prepare({ by, reason, keyType, ttlMs });
      return rotation[step]({ by, reason, force });
    }),
    'ca-csr': call(csrRequest, async ({ keyType, replace, withdraw, reason }) =>
      withdraw === true
        ? { withdrawn: await ca.externalRoot.withdraw({ by, reason }) }
        : ca.externalRoot.request({ keyType, replace, by, reason }),
    ),
    'ca-install': call(installRequest, async ({ chainPem, rootPem, reason }) => {
      await ca.externalRoot.install({ chainPem, rootPem }, { by, reason });
      return ca.rootRotation.status;
    }),
    'ca-deny': call(denyRequest, async ({ kind, value, remove, reason, ttlMs }) =>
      remove === true
        ? { removed: await ca.denyList.allow({ kind, value, reason, by }) }
        : ca.denyList.deny({ kind, value, reason, ttlMs, by }),
    ),
    'ca-token': call(tokenRequest, async ({ node, ttlMs }) => (await ca.joinTokens()).create({ node, ttlMs, by })),
    'ca-audit': call(nothing, () => {
      if (audit === undefined) throw new CaError('CA_REQUEST_INVALID', 'this CA keeps no audit log in a file');
      return { file: audit.file, records: audit.end.sequence, head: audit.end.head };
    }),
  });
}

function describe(ca: SpiffeCA): unknown {
  const { x509Authorities, sequence } = ca.bundle.current;
  return {
    trustDomain: ca.trustDomain.name,
    rootPin: ca.rootPin,
    sequence,
    roots: x509Authorities.map(({ subject, validTo }, index) => ({
      signs: index === 0,
      subject,
      notAfter: new Date(validTo),
    })),
    externalRoot: ca.externalRoot.status,
    rotation: ca.rootRotation.status,
    tokenKeyRotation: ca.tokenKeyRotation.status,
    jwtKeyRotation: ca.jwtKeyRotation.status,
    denied: ca.denyList.entries,
  };
}

function rotationOf(ca: SpiffeCA, key: z.output<typeof rotateRequest>['key']): KeyRotation {
  if (key === 'root') return ca.rootRotation;
  return key === 'token-key' ? ca.tokenKeyRotation : ca.jwtKeyRotation;
}

function parsed<T>(shape: z.ZodType<T>, request: unknown): T {
  const result = shape.safeParse(request);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'request'}: ${message}`);
  throw new CaError('CA_REQUEST_INVALID', problems.join('; '));
}
