import { readMtlsMode } from './annotations.js';
import type { MtlsMode } from './annotations.js';
import { problemAt } from './manifest-object.js';
import type { ManifestObject } from './manifest-object.js';
import type { MappingContext } from './mapping-context.js';
import type { RunningPod } from './pod.js';
import type { PeerAuthenticationManifest } from './schemas.js';
import { hasLabels } from './selector.js';

type WrittenMode = MtlsMode | 'UNSET' | undefined;

interface Rule {
  readonly namespace: string;
  /** Undefined for one that covers its whole namespace. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  readonly mode: MtlsMode;
}

const strictness: Readonly<Record<MtlsMode, number>> = { DISABLE: 0, PERMISSIVE: 1, STRICT: 2 };

/**
 * What to do with plaintext to a pod. The most specific place that says something decides: annotations of the pod and of
 * its services together with PeerAuthentications that select the pod; then one for its namespace; then one for the mesh
 * (in the root namespace); else STRICT. Where several of one rank differ, the strictest holds.
 */
export class MtlsModes {
  readonly #context: MappingContext;
  readonly #rules: readonly Rule[];
  readonly #rootNamespace: string;

  constructor(context: MappingContext, rootNamespace: string) {
    this.#context = context;
    this.#rootNamespace = rootNamespace;
    this.#rules = context
      .all<PeerAuthenticationManifest>('PeerAuthentication')
      .flatMap(({ object, manifest }) => toRule(context, object, manifest));
  }

  modeOf(pod: RunningPod, ofServices: readonly MtlsMode[]): MtlsMode {
    const { namespace } = pod.object;
    const selected = this.#rules.filter(
      (rule) => rule.labels !== undefined && rule.namespace === namespace && hasLabels(pod.labels, rule.labels),
    );
    const own = readMtlsMode(pod.object, pod.annotations, this.#context.problems);
    const specific = [...ofServices, ...(own === undefined ? [] : [own]), ...selected.map((rule) => rule.mode)];
    return (
      strictest(specific) ?? strictest(this.#wide(namespace)) ?? strictest(this.#wide(this.#rootNamespace)) ?? 'STRICT'
    );
  }

  #wide(namespace: string): readonly MtlsMode[] {
    return this.#rules
      .filter((rule) => rule.labels === undefined && rule.namespace === namespace)
      .map((rule) => rule.mode);
  }
}

function strictest(modes: readonly MtlsMode[]): MtlsMode | undefined {
  return modes.reduce<MtlsMode | undefined>(
    (found, mode) => (found === undefined || strictness[mode] > strictness[found] ? mode : found),
    undefined,
  );
}

function toRule(context: MappingContext, object: ManifestObject, manifest: PeerAuthenticationManifest): Rule[] {
  const { selector, mtls, portLevelMtls } = manifest.spec ?? {};
  const byPort = Object.values(portLevelMtls ?? {}).map((each) => each.mode);
  if (byPort.length > 0) {
    context.problems.push(
      problemAt(object, ['spec', 'portLevelMtls'], {
        severity: 'warning',
        expected: 'one mode for all ports of a workload',
        got: 'modes for single ports',
        fix: 'nothing fails open: the strictest of all modes in this object holds for every port',
      }),
    );
  }
  const mode = strictest([mtls?.mode, ...byPort].filter(isMode));
  const labels = selector?.matchLabels ?? {};
  const whole = Object.keys(labels).length === 0;
  return mode === undefined ? [] : [{ namespace: object.namespace, labels: whole ? undefined : labels, mode }];
}

function isMode(mode: WrittenMode): mode is MtlsMode {
  return mode !== undefined && mode !== 'UNSET';
}
