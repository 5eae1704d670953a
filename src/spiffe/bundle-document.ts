/** The SPIFFE bundle format (SPIFFE Trust Domain and Bundle, section 4): a JWKS with two members of its own, and two
 * of this mesh, `meshwright_denied` and `meshwright_intermediates`, which others must ignore. */
import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { SpiffeError } from './errors.js';
import { readPublicJwk } from './public-jwk.js';
import type { Jwk } from './public-jwk.js';

/** `use` of workload token keys in a bundle. Unknown to others, who must therefore ignore such keys. */
export const workloadTokenKeyUse = 'meshwright-workload-token';

const maxTextLength = 1024 * 1024;
const maxKeys = 256;
const maxIntermediates = 32;
const knownKeyTypes: readonly unknown[] = ['EC', 'RSA', 'OKP'];

export interface BundleDocument {
  /** DER. */
  readonly x509Authorities: readonly Uint8Array[];
  /** DER. Not trusted: what may stand between a leaf and an authority. */
  readonly x509Intermediates: readonly Uint8Array[];
  readonly workloadTokenKeys: readonly Jwk[];
  readonly jwtAuthorities: readonly Jwk[];
  readonly sequence: number;
  readonly refreshHintSeconds: number | undefined;
  /** The member `meshwright_denied`, not looked into; undefined when there is none. */
  readonly denied: unknown;
}

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const certificateText = z.string().max(32 * 1024);
const documentSchema = z.object({
  keys: z.array(z.looseObject({ kty: z.string(), use: z.string().optional() })).max(maxKeys),
  spiffe_sequence: count.optional(),
  spiffe_refresh_hint: count.optional(),
  meshwright_denied: z.unknown().optional(),
  meshwright_intermediates: z.array(certificateText).max(maxIntermediates).optional(),
});
// Exactly one certificate per entry; its public key stands in the entry too and is not read: the certificate has it.
const x5cSchema = z.tuple([certificateText]);

/** Throws `SPIFFE_BUNDLE_MALFORMED`. */
export function parseBundleDocument(json: unknown): BundleDocument {
  const result = documentSchema.safeParse(typeof json === 'string' ? parseText(json) : json);
  if (!result.success) {
    throw malformed(
      result.error.issues
        .slice(0, 5)
        .map((issue) => `${issue.path.join('.') || '(root)'}: ${issue.message}`)
        .join('; '),
    );
  }
  const { keys, spiffe_sequence: sequence = 0, spiffe_refresh_hint: refreshHintSeconds } = result.data;
  const known = keys.filter((key) => knownKeyTypes.includes(key.kty));
  const ofUse = (use: string): typeof known => known.filter((key) => key.use === use);
  return {
    x509Authorities: ofUse('x509-svid').map((key) => readX5c(key['x5c'])),
    x509Intermediates: (result.data.meshwright_intermediates ?? []).map((text) => readX5c([text])),
    workloadTokenKeys: ofUse(workloadTokenKeyUse).map(readPublicJwk),
    jwtAuthorities: ofUse('jwt-svid').map(readPublicJwk),
    sequence,
    refreshHintSeconds,
    denied: result.data.meshwright_denied,
  };
}

export function writeBundleDocument(document: BundleDocument): Readonly<Record<string, unknown>> {
  return {
    keys: [
      ...document.x509Authorities.map(writeX509Entry),
      ...document.jwtAuthorities.map((key) => ({ use: 'jwt-svid', ...key })),
      ...document.workloadTokenKeys.map((key) => ({ use: workloadTokenKeyUse, ...key })),
    ],
    spiffe_sequence: document.sequence,
    ...(document.refreshHintSeconds === undefined ? {} : { spiffe_refresh_hint: document.refreshHintSeconds }),
    ...(document.x509Intermediates.length === 0
      ? {}
      : { meshwright_intermediates: document.x509Intermediates.map((der) => Buffer.from(der).toString('base64')) }),
    ...(document.denied === undefined ? {} : { meshwright_denied: document.denied }),
  };
}

function writeX509Entry(der: Uint8Array): Readonly<Record<string, unknown>> {
  const key = new X509Certificate(der).publicKey.export({ format: 'jwk' });
  return { use: 'x509-svid', ...key, x5c: [Buffer.from(der).toString('base64')] };
}

function readX5c(value: unknown): Uint8Array {
  const result = x5cSchema.safeParse(value);
  const [text] = result.success ? result.data : [''];
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 0 || bytes.toString('base64') !== text) {
    throw malformed('a certificate is not one certificate in base64 (the x5c of an x509-svid key has exactly one)');
  }
  return new Uint8Array(bytes);
}

function parseText(text: string): unknown {
  if (text.length > maxTextLength) throw malformed(`it is longer than ${String(maxTextLength)} characters`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed('it is not JSON', cause);
  }
}

function malformed(why: string, cause?: unknown): SpiffeError {
  return new SpiffeError('SPIFFE_BUNDLE_MALFORMED', `expected a bundle in the SPIFFE bundle format, but ${why}`, {
    cause,
  });
}
