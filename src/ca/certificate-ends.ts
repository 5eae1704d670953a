import { X509Certificate } from 'node:crypto';
import type { RootEntry } from './authority-state.js';

/** When a certificate that the CA's own signing rests on ends. */
export interface CaCertificateEnd {
  /** The root, ours or the external one; or what is between it and a leaf: of several, the one that ends first. */
  readonly certificate: 'root' | 'intermediate';
  /** `active` signs; `prepared` is published and signs once it is activated; `outgoing` is published for what it signed. */
  readonly stage: 'prepared' | 'active' | 'outgoing';
  readonly notAfter: Date;
}

/** A row for each stage and kind of certificate that there is. */
export function certificateEnds(roots: readonly RootEntry[]): readonly CaCertificateEnd[] {
  return roots.flatMap(({ state: stage, certificatePem, external }) => {
    const root = { certificate: 'root', stage, notAfter: firstEnd([external?.rootPem ?? certificatePem]) } as const;
    if (external === undefined) return [root];
    const notAfter = firstEnd([certificatePem, ...external.intermediatesPem]);
    return [root, { certificate: 'intermediate', stage, notAfter }];
  });
}

function firstEnd(pems: readonly string[]): Date {
  return new Date(Math.min(...pems.map((pem) => Date.parse(new X509Certificate(pem).validTo))));
}
