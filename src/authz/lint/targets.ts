/** Policies for services, pods and namespaces that the mesh does not have, and about HTTP where there is none. */
import type { CompiledRule, PolicyScope } from '../compiled-policy.js';
import type { ManifestReport } from '../manifest.js';
import { PortsTerm } from '../terms/network.js';
import type { Term } from '../terms/term.js';
import type { LintFacts, LintPort, LintService } from './facts.js';
import { rulePath } from './subject.js';
import type { LintSubject, PlacedSubject } from './subject.js';

export function checkTargets(subjects: readonly PlacedSubject[], facts: LintFacts): void {
  const services = facts.services === undefined ? undefined : new Services(facts.services);
  for (const subject of subjects) {
    const { policy, report, scopes } = subject;
    const native = policy?.head.id.startsWith('ProxyPolicy ') === true;
    scopes.forEach((scope, index) => {
      const path = native ? 'spec.targetRef.name' : `spec.targetRefs[${String(index)}].name`;
      if (services !== undefined) checkService(scope, path, report, services, facts.complete ?? true);
      const placed = native ? 'spec.targetRef.name' : 'metadata.namespace';
      if (facts.workloads !== undefined) checkSelector(scope, placed, report, facts.workloads, facts.complete ?? true);
    });
    if (services === undefined || policy === undefined || !policy.rules.some((rule) => rule.usesHttp)) continue;
    const ports = scopes.flatMap((scope) => services.of(scope)).flatMap(({ ports: own }) => own ?? [unknownPort]);
    for (const rule of policy.rules) checkProtocol(rule, { policy, report }, ports);
  }
}

/** Of a service whose ports are not known. */
const unknownPort: LintPort = Object.freeze({ port: 0 });

/** Services by what policies apply to. */
class Services {
  readonly #all: readonly LintService[];
  readonly #byName = new Map<string, readonly LintService[]>();
  readonly #byNamespace = new Map<string, LintService[]>();

  constructor(services: NonNullable<LintFacts['services']>) {
    this.#all = services.map((each) => (typeof each === 'string' ? { name: each } : each));
    for (const service of this.#all) {
      this.#byName.set(service.name, [service]);
      const namespace = namespaceOf(service.name);
      const members = this.#byNamespace.get(namespace);
      if (members === undefined) this.#byNamespace.set(namespace, [service]);
      else members.push(service);
    }
  }

  of(scope: PolicyScope): readonly LintService[] {
    if (scope.kind === 'mesh') return this.#all;
    if (scope.kind === 'service') return this.#byName.get(scope.service) ?? [];
    return scope.namespace === undefined ? this.#all : (this.#byNamespace.get(scope.namespace) ?? []);
  }
}

function namespaceOf(name: string): string {
  return name.slice(0, name.indexOf('/'));
}

function checkService(
  scope: PolicyScope,
  path: string,
  report: ManifestReport,
  services: Services,
  complete: boolean,
): void {
  if (scope.kind !== 'service' || scope.service.startsWith('serviceentry:')) return;
  const { service } = scope;
  if (services.of(scope).length > 0) return;
  if (!complete && services.of({ kind: 'services', namespace: namespaceOf(service) }).length === 0) return;
  report.warning(
    'target-unknown',
    path,
    'a Service of the mesh as target',
    service,
    'correct the name or the namespace of the policy',
  );
}

function checkSelector(
  scope: PolicyScope,
  path: string,
  report: ManifestReport,
  workloads: NonNullable<LintFacts['workloads']>,
  complete: boolean,
): void {
  const labels = scope.kind === 'selector' ? Object.entries(scope.labels) : [];
  const namespace = scope.kind === 'selector' || scope.kind === 'namespace' ? scope.namespace : undefined;
  if (namespace === undefined && scope.kind !== 'selector') return;
  const there = workloads.filter((workload) => namespace === undefined || workload.namespace === namespace);
  if (there.length === 0 && !complete) return;
  if (there.some((workload) => labels.every(([name, value]) => workload.labels[name] === value))) return;
  if (labels.length > 0)
    report.warning(
      'selector-unmatched',
      'spec.selector.matchLabels',
      'labels that some workload has',
      JSON.stringify(Object.fromEntries(labels)),
      'correct the labels or the namespace of the policy',
    );
  else
    report.warning(
      'namespace-unknown',
      path,
      'a namespace with workloads',
      namespace ?? '',
      'correct the namespace of the policy',
    );
}

function checkProtocol(rule: CompiledRule, { policy, report }: LintSubject, ports: readonly LintPort[]): void {
  if (!rule.usesHttp || (policy.head.action !== 'ALLOW' && policy.head.action !== 'DENY')) return;
  const everywhere = [...rule.from.flat(), ...rule.when].some((term) => term.http);
  const entries = rule.to.length === 0 ? [[]] : rule.to;
  entries.forEach((terms: readonly Term[], index) => {
    if (!everywhere && !terms.some((term) => term.http)) return;
    const wanted = terms.find((term) => term instanceof PortsTerm && !term.negated)?.values.map(Number);
    const meant = wanted === undefined ? ports : ports.filter(({ port }) => wanted.includes(port));
    if (meant.length === 0 || meant.some(({ protocol }) => protocol !== 'tcp')) return;
    // A namespace has many ports; without naming any a rule is hardly about those without HTTP.
    if (wanted === undefined && !policy.head.scopes.every(({ kind }) => kind === 'service')) return;
    report.warning(
      'http-on-tcp',
      rule.to.length === 0 ? rulePath(rule) : `${rulePath(rule)}.to[${String(index)}]`,
      'terms about HTTP only for ports that speak it',
      `ports without HTTP: ${[...new Set(meant.map(({ port }) => port))].join(', ')}`,
      policy.head.action === 'ALLOW'
        ? 'it never matches there: remove the terms about HTTP, or name another port'
        : 'there they count as matched, so that it denies whatever the rest of it matches: remove them, or name another port',
    );
  });
}
