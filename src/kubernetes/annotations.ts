/** The annotations that the mesh reads. */
import { problemAt } from './manifest-object.js';
import type { ManifestObject } from './manifest-object.js';
import { showValue } from './manifest-problem.js';
import type { FieldPath, ManifestProblem } from './manifest-problem.js';

/** On Service, Pod, Deployment, ReplicaSet or their pod templates: `"enabled"` or `"disabled"`. */
export const meshAnnotation = 'novaedge.io/mesh';
/** On Service or Pod: `"strict"`, `"permissive"` or `"disabled"`. */
export const mtlsAnnotation = 'novaedge.io/mesh-mtls';
/** On Node: the port of its agent's tunnel, where it is not 15002. */
export const tunnelPortAnnotation = 'novaedge.io/mesh-tunnel-port';
/** On Pod: the host-side interface, where the agent shall not find it by route. */
export const hostInterfaceAnnotation = 'novaedge.io/host-interface';
/** On Service: the ProxyVIP whose ports of the same number lead to it. */
export const vipRefAnnotation = 'novaedge.io/vip-ref';

export type Annotations = Readonly<Record<string, string>>;
export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

const metadataAnnotations: FieldPath = ['metadata', 'annotations'];

/** Whether the annotation enrols. A value that is neither on nor off is reported and enrols: protected until corrected. */
export function readEnrolment(
  object: ManifestObject,
  annotations: Annotations,
  problems: ManifestProblem[],
  path: FieldPath = metadataAnnotations,
): boolean {
  const value = annotations[meshAnnotation];
  if (value === undefined || value === 'disabled') return false;
  if (value !== 'enabled') {
    problems.push(
      problemAt(object, [...path, meshAnnotation], {
        expected: '"enabled" or "disabled"',
        got: showValue(value),
        fix: 'write one of the two; until then it counts as "enabled"',
      }),
    );
  }
  return true;
}

const mtlsModes: Readonly<Record<string, MtlsMode>> = {
  strict: 'STRICT',
  permissive: 'PERMISSIVE',
  disabled: 'DISABLE',
};

/** The mode the annotation asks for. An unknown value is reported and counts as strict. */
export function readMtlsMode(
  object: ManifestObject,
  annotations: Annotations,
  problems: ManifestProblem[],
): MtlsMode | undefined {
  const value = annotations[mtlsAnnotation];
  if (value === undefined) return undefined;
  const mode = Object.hasOwn(mtlsModes, value) ? mtlsModes[value] : undefined;
  if (mode !== undefined) return mode;
  problems.push(
    problemAt(object, [...metadataAnnotations, mtlsAnnotation], {
      expected: '"strict", "permissive" or "disabled"',
      got: showValue(value),
      fix: 'write one of the three; until then it counts as "strict"',
    }),
  );
  return 'STRICT';
}
