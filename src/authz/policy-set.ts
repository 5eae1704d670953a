/** The policies in force, found by what they apply to. */
import type { CompiledPolicy, PolicyScope } from './compiled-policy.js';
import { PolicyGroup } from './policy-group.js';
import type { AuthzRequest } from './request.js';
import { KeyTables } from './rule-index.js';

interface SelectorGroup {
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly group: PolicyGroup;
}

/** The groups that apply to one request; reused. */
export class Applicable {
  readonly groups: PolicyGroup[] = [];
  /** Groups of which nobody can say whether they apply, since the pod's labels are not given: their ALLOW rules never match. */
  readonly uncertain: PolicyGroup[] = [];
  /** What any of the groups has (`PolicyGroup.has`). */
  has = 0;

  clear(): void {
    // Setting the length takes several times as long.
    while (this.groups.length > 0) this.groups.pop();
    while (this.uncertain.length > 0) this.uncertain.pop();
    this.has = 0;
  }

  add(group: PolicyGroup): void {
    this.groups.push(group);
    this.has |= group.has;
  }

  addUncertain(group: PolicyGroup): void {
    this.uncertain.push(group);
    this.has |= group.has;
  }
}

export class PolicySet {
  readonly policies: readonly CompiledPolicy[];
  readonly #groups: ReadonlyMap<string, PolicyGroup>;
  readonly #mesh: PolicyGroup | undefined;
  readonly #namespaces = new Map<string, PolicyGroup>();
  readonly #services = new Map<string, PolicyGroup>();
  /** By the namespace of services; nearly always empty. */
  readonly #servicesOf = new Map<string, PolicyGroup>();
  /** By namespace (undefined: of the whole mesh), then by the name and value of the first label. */
  readonly #selectors = new Map<string | undefined, Map<string, Map<string, SelectorGroup[]>>>();

  private constructor(
    policies: readonly CompiledPolicy[],
    groups: ReadonlyMap<string, PolicyGroup>,
    scopes: ReadonlyMap<string, PolicyScope>,
  ) {
    this.policies = policies;
    this.#groups = groups;
    this.#mesh = groups.get('mesh');
    for (const [key, scope] of scopes) {
      const group = groups.get(key);
      if (group === undefined) continue;
      if (scope.kind === 'namespace') this.#namespaces.set(scope.namespace, group);
      else if (scope.kind === 'service') this.#services.set(scope.service, group);
      else if (scope.kind === 'services') this.#servicesOf.set(scope.namespace, group);
      else if (scope.kind === 'selector') this.#addSelector(scope.namespace, Object.entries(scope.labels), group);
    }
  }

  /** A generator, so that the caller can pause. Groups without a change are taken from `previous`. */
  static *build(policies: readonly CompiledPolicy[], previous: PolicySet | undefined): Generator<void, PolicySet> {
    const tables = new KeyTables();
    const members = new Map<string, CompiledPolicy[]>();
    const scopes = new Map<string, PolicyScope>();
    for (const policy of policies) {
      for (const scope of policy.head.scopes) {
        const key = scopeKey(scope);
        const list = members.get(key);
        if (list === undefined) {
          members.set(key, [policy]);
          scopes.set(key, scope);
        } else {
          list.push(policy);
        }
      }
    }
    const groups = new Map<string, PolicyGroup>();
    for (const [key, list] of members) {
      groups.set(
        key,
        yield* PolicyGroup.build(list, previous === undefined ? undefined : previous.#groups.get(key), tables),
      );
      if (groups.size % 64 === 0) yield;
    }
    return new PolicySet(policies, groups, scopes);
  }

  /** Collects every group that applies to the destination, each once. */
  collect(destination: AuthzRequest['destination'], into: Applicable): void {
    into.clear();
    if (this.#mesh !== undefined) into.add(this.#mesh);
    if (this.#namespaces.size > 0) {
      const namespaced = this.#namespaces.get(destination.namespace);
      if (namespaced !== undefined) into.add(namespaced);
    }
    if (this.#selectors.size > 0) {
      this.#select(this.#selectors.get(undefined), destination.labels, into);
      this.#select(this.#selectors.get(destination.namespace), destination.labels, into);
    }
    const { services } = destination;
    if (services === undefined) return;
    if (!Array.isArray(services)) throw new TypeError('services must be a list');
    for (const service of services as readonly string[]) {
      // Names without a namespace are no keys, so whole ones are found at once.
      const group =
        this.#services.get(service) ??
        (service.includes('/') ? undefined : this.#services.get(`${destination.namespace}/${service}`));
      if (group !== undefined && !into.groups.includes(group)) into.add(group);
    }
    if (this.#servicesOf.size > 0) this.#collectServicesOf(destination.namespace, services, into);
  }

  #collectServicesOf(own: string, services: readonly string[], into: Applicable): void {
    for (const service of services) {
      const namespace = service.includes('/') ? service.slice(0, service.indexOf('/')).replace(/^.*:/, '') : own;
      const group = this.#servicesOf.get(namespace);
      if (group !== undefined && !into.groups.includes(group)) into.add(group);
    }
  }

  #addSelector(namespace: string | undefined, labels: SelectorGroup['labels'], group: PolicyGroup): void {
    const [name, value] = labels[0] ?? ['', ''];
    const byName = this.#selectors.get(namespace) ?? new Map<string, Map<string, SelectorGroup[]>>();
    this.#selectors.set(namespace, byName);
    const byValue = byName.get(name) ?? new Map<string, SelectorGroup[]>();
    byName.set(name, byValue);
    byValue.set(value, [...(byValue.get(value) ?? []), { labels, group }]);
  }

  #select(
    selectors: ReadonlyMap<string, ReadonlyMap<string, readonly SelectorGroup[]>> | undefined,
    labels: Readonly<Record<string, string>> | undefined,
    into: Applicable,
  ): void {
    if (selectors === undefined) return;
    for (const [name, byValue] of selectors) {
      if (labels === undefined) {
        for (const list of byValue.values()) for (const { group } of list) into.addUncertain(group);
        continue;
      }
      const own = Object.hasOwn(labels, name) ? labels[name] : undefined;
      const list = own === undefined ? undefined : byValue.get(own);
      if (list === undefined) continue;
      for (const { labels: wanted, group } of list) {
        if (wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)) into.add(group);
      }
    }
  }
}

function scopeKey(scope: PolicyScope): string {
  switch (scope.kind) {
    case 'mesh':
      return 'mesh';
    case 'namespace':
      return `namespace ${scope.namespace}`;
    case 'services':
      return `services of ${scope.namespace}`;
    case 'service':
      return `service ${scope.service}`;
    case 'selector':
      return `selector ${JSON.stringify([scope.namespace ?? null, ...Object.entries(scope.labels).sort(([one], [other]) => (one < other ? -1 : 1))])}`;
  }
}
