/** What compilation reports, and what only shows when rules are seen side by side. */
import { AuthzCompileError } from './errors.js';
import { AuthzEngine } from './engine.js';
import { isFields, unwrap } from './manifest.js';
import type { Fields } from './manifest.js';
import { ManifestReport } from './manifest.js';
import type { AuthzOptions } from './options.js';
import type { PolicyProblem } from './problem.js';

/** What the mesh has, for checks against it; what is left out is not checked. */
export interface LintFacts {
  /** `namespace/name` of every service. */
  readonly services?: readonly string[] | undefined;
  /** Every workload's namespace and labels. */
  readonly workloads?:
    readonly { readonly namespace: string; readonly labels: Readonly<Record<string, string>> }[] | undefined;
}

/**
 * Every error and warning of `manifests`, in their order; never throws for a bad policy. The codes are listed in
 * docs/authz.md. Throws `AUTHZ_OPTION_INVALID` for bad options.
 */
export function lintPolicies(
  manifests: readonly unknown[],
  options?: AuthzOptions,
  facts: LintFacts = {},
): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  try {
    problems.push(...AuthzEngine.compile(manifests, options).problems);
  } catch (error) {
    if (!(error instanceof AuthzCompileError)) throw error;
    problems.push(...error.problems);
  }
  for (const input of manifests) {
    const { manifest, origin } = unwrap(input);
    if (!isFields(manifest) || !isFields(manifest.spec)) continue;
    const report = new ManifestReport(problems, origin);
    const metadata = isFields(manifest.metadata) ? manifest.metadata : {};
    const namespace = typeof metadata.namespace === 'string' ? metadata.namespace : 'default';
    report.policy = `${String(manifest.kind)} ${namespace}/${String(metadata.name)}`;
    checkRules(manifest.spec, report);
    checkTargets(manifest.spec, namespace, facts, report, options?.rootNamespace ?? 'istio-system');
  }
  return Object.freeze(problems);
}

/** Rules that another rule of the same policy makes useless. */
function checkRules(spec: Fields, report: ManifestReport): void {
  const nested = isFields(spec.meshAuthorization) ? spec.meshAuthorization : undefined;
  const rules = (nested ?? spec).rules;
  if (!Array.isArray(rules)) return;
  const path = nested === undefined ? 'spec.rules' : 'spec.meshAuthorization.rules';
  const texts = rules.map((rule) => JSON.stringify(rule));
  const openTo = rules.findIndex(
    (rule) => isFields(rule) && ['from', 'to', 'when'].every((part) => isEmpty(rule[part])),
  );
  rules.forEach((rule: unknown, index) => {
    const at = `${path}[${String(index)}]`;
    const same = texts.indexOf(texts[index] ?? '');
    if (same < index) {
      report.warning(
        'duplicate-rule',
        at,
        'every rule once',
        `the same as rule ${String(same)}`,
        'remove one of the two',
      );
    } else if (openTo >= 0 && openTo !== index) {
      report.warning(
        'shadowed-rule',
        at,
        'a rule that makes a difference',
        `rule ${String(openTo)} matches everything`,
        'remove this rule, or the one that matches everything',
      );
    } else {
      const wider = rules.findIndex(
        (other: unknown, place) =>
          place !== index && isFields(rule) && isFields(other) && texts[place] !== texts[index] && covers(other, rule),
      );
      if (wider >= 0)
        report.warning(
          'shadowed-rule',
          at,
          'a rule that makes a difference',
          `rule ${String(wider)} matches whatever this one matches`,
          'remove this rule',
        );
    }
  });
}

function isEmpty(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}

/** Whether `wide` certainly matches whatever `narrow` matches: every part is the same or left out. Says no when in doubt. */
function covers(wide: Fields, narrow: Fields): boolean {
  return ['from', 'to', 'when'].every((part) => {
    if (isEmpty(wide[part])) return true;
    const theirs = wide[part];
    const own = narrow[part];
    if (isEmpty(own) || !Array.isArray(theirs) || !Array.isArray(own)) return false;
    const has = (list: readonly unknown[], item: unknown): boolean =>
      list.some((each) => JSON.stringify(each) === JSON.stringify(item));
    // Entries of from and to are alternatives, conditions are not.
    return part === 'when' ? theirs.every((item) => has(own, item)) : own.every((item) => has(theirs, item));
  });
}

function checkTargets(spec: Fields, namespace: string, facts: LintFacts, report: ManifestReport, root: string): void {
  const refs = spec.targetRefs ?? (spec.targetRef === undefined ? [] : [spec.targetRef]);
  if (facts.services !== undefined && Array.isArray(refs)) {
    refs.forEach((ref: unknown, index) => {
      if (!isFields(ref) || ref.kind !== 'Service' || typeof ref.name !== 'string') return;
      if (facts.services?.includes(`${namespace}/${ref.name}`) === true) return;
      const at = spec.targetRefs === undefined ? 'spec.targetRef.name' : `spec.targetRefs[${String(index)}].name`;
      report.warning(
        'target-unknown',
        at,
        'a Service of the mesh',
        `${namespace}/${ref.name}`,
        'correct the name or the namespace of the policy',
      );
    });
  }
  const labels =
    isFields(spec.selector) && isFields(spec.selector.matchLabels) ? Object.entries(spec.selector.matchLabels) : [];
  if (facts.workloads === undefined || labels.length === 0) return;
  const selected = facts.workloads.some(
    (workload) =>
      (namespace === root || workload.namespace === namespace) &&
      labels.every(([name, value]) => workload.labels[name] === value),
  );
  if (!selected)
    report.warning(
      'selector-unmatched',
      'spec.selector.matchLabels',
      'labels that some workload has',
      JSON.stringify(Object.fromEntries(labels)),
      'correct the labels or the namespace of the policy',
    );
}
