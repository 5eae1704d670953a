/** Istio's `PeerAuthentication`: whether plaintext is taken, for the mesh, a namespace, a workload or one of its ports. */
import { checkKeys, isFields } from '../manifest.js';
import type { ManifestIdentity, ManifestReport } from '../manifest.js';
import { show } from '../problem.js';
import { readSelector } from './selector.js';

/** `STRICT` refuses plaintext, `PERMISSIVE` judges it without a principal, `DISABLE` takes plaintext only. */
export type PeerMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE';

export interface PeerAuthentication {
  readonly id: string;
  readonly key: string;
  /** Undefined: the whole mesh. */
  readonly namespace: string | undefined;
  /** Undefined: every workload. */
  readonly labels: Readonly<Record<string, string>> | undefined;
  /** Undefined: as the next wider one says. */
  readonly mode: PeerMode | undefined;
  readonly ports: ReadonlyMap<number, PeerMode>;
}

const modes: readonly unknown[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];

/** Compiles one policy; reports problems and returns undefined when there are any. */
export function compilePeerAuthentication(
  identity: ManifestIdentity,
  rootNamespace: string,
  report: ManifestReport,
): PeerAuthentication | undefined {
  const before = report.errors;
  const { spec, namespace, name } = identity;
  checkKeys(spec, ['selector', 'mtls', 'portLevelMtls'], 'spec', report);
  const labels = readSelector(spec.selector, 'spec.selector', report);
  const mode = readMode(spec.mtls, 'spec.mtls', report);
  const ports = new Map<number, PeerMode>();
  if (spec.portLevelMtls !== undefined) {
    if (!isFields(spec.portLevelMtls))
      report.error(
        'wrong-type',
        'spec.portLevelMtls',
        'ports with their mode',
        show(spec.portLevelMtls),
        'write 8080: { mode: … }',
      );
    else if (labels === undefined)
      report.error(
        'ports-without-selector',
        'spec.portLevelMtls',
        'a selector beside port modes',
        'none',
        'add a selector: ports belong to workloads',
      );
    else {
      for (const [port, value] of Object.entries(spec.portLevelMtls)) {
        const at = `spec.portLevelMtls.${port}`;
        if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535)
          report.error('port-malformed', at, 'a port from 1 to 65535', show(port), 'write the port as decimal digits');
        const portMode = readMode(value, at, report);
        if (portMode !== undefined) ports.set(Number(port), portMode);
      }
    }
  }
  if (report.errors > before) return undefined;
  const key = `${namespace}/${name}`;
  return Object.freeze({
    id: `PeerAuthentication ${key}`,
    key,
    namespace: namespace === rootNamespace && labels === undefined ? undefined : namespace,
    labels,
    mode,
    ports,
  });
}

function readMode(value: unknown, path: string, report: ManifestReport): PeerMode | undefined {
  if (value === undefined) return undefined;
  if (!isFields(value)) {
    report.error('wrong-type', path, 'an object with mode', show(value), 'write { mode: STRICT }');
    return undefined;
  }
  checkKeys(value, ['mode'], path, report);
  if (value.mode === undefined || value.mode === 'UNSET') return undefined;
  if (modes.includes(value.mode)) return value.mode as PeerMode;
  report.error(
    'unknown-mode',
    `${path}.mode`,
    'UNSET, STRICT, PERMISSIVE or DISABLE',
    show(value.mode),
    'write the mode in capitals',
  );
  return undefined;
}

const strictness: readonly PeerMode[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];

export interface PeerDestination {
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly port?: number | undefined;
}

/**
 * The mode for a destination: the port's, else the workload's, the namespace's, the mesh's, else undefined. Of several at
 * the same level the strictest counts. Without labels every selector of the namespace counts as matching.
 */
export function peerModeOf(
  policies: readonly PeerAuthentication[],
  destination: PeerDestination,
): { readonly mode: PeerMode; readonly key: string } | undefined {
  const { namespace, labels, port } = destination;
  const selected = policies.filter(
    (policy) =>
      policy.namespace === namespace &&
      policy.labels !== undefined &&
      (labels === undefined || hasLabels(labels, policy.labels)),
  );
  return (
    strictest(selected, (policy) =>
      port === undefined ? strictestOf([...policy.ports.values()]) : policy.ports.get(port),
    ) ??
    strictest(selected, (policy) => policy.mode) ??
    strictest(
      policies.filter((policy) => policy.namespace === namespace && policy.labels === undefined),
      (policy) => policy.mode,
    ) ??
    strictest(
      policies.filter((policy) => policy.namespace === undefined),
      (policy) => policy.mode,
    )
  );
}

function hasLabels(labels: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => Object.hasOwn(labels, name) && labels[name] === value);
}

function strictestOf(list: readonly PeerMode[]): PeerMode | undefined {
  return strictness.find((mode) => list.includes(mode));
}

function strictest(
  policies: readonly PeerAuthentication[],
  modeOf: (policy: PeerAuthentication) => PeerMode | undefined,
): { mode: PeerMode; key: string } | undefined {
  for (const mode of strictness) {
    const policy = policies.find((each) => modeOf(each) === mode);
    if (policy !== undefined) return { mode, key: policy.key };
  }
  return undefined;
}
