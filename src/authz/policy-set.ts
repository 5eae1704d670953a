/** The policies in force, found by what they apply to. */
import type { CompiledPolicy, PolicyScope } from './compiled-policy.js';
import { LayeredMap } from './layered-map.js';
import { PolicyGroup } from './policy-group.js';
import type { AuthzRequest } from './request.js';
import { KeyTables } from './rule-index.js';

interface SelectorGroup {
  readonly namespace: string | undefined;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly group: PolicyGroup;
}

/** So many groups are looked through one by one. */
const fewGroups = 16;

/** The groups that apply to one request; reused. */
export class Applicable {
  readonly groups: PolicyGroup[] = [];
  /** Groups of which nobody can say whether they apply, since the pod's labels are not given: their ALLOW rules never match. */
  readonly uncertain: PolicyGroup[] = [];
  /** What any of the groups has (`PolicyGroup.has`). */
  has = 0;
  readonly #many = new Set<PolicyGroup>();

  clear(): void {
    // Setting the length takes several times as long.
    while (this.groups.length > 0) this.groups.pop();
    while (this.uncertain.length > 0) this.uncertain.pop();
    if (this.#many.size > 0) this.#many.clear();
    this.has = 0;
  }

  add(group: PolicyGroup): void {
    this.groups.push(group);
    this.has |= group.has;
  }

  /** Several services may share a group. */
  addOnce(group: PolicyGroup): void {
    if (this.groups.length < fewGroups ? this.groups.includes(group) : this.#known(group)) return;
    this.add(group);
  }

  #known(group: PolicyGroup): boolean {
    if (this.#many.size === 0) for (const each of this.groups) this.#many.add(each);
    const known = this.#many.has(group);
    this.#many.add(group);
    return known;
  }

  addUncertain(group: PolicyGroup): void {
    this.uncertain.push(group);
    this.has |= group.has;
  }
}

/** Above this share of changes everything is put together anew. */
const maxChangedShare = 0.1;

export class PolicySet {
  readonly policies: readonly CompiledPolicy[];
  readonly #tables: KeyTables;
  #mesh: PolicyGroup | undefined;
  #namespaces = new LayeredMap<string, PolicyGroup>();
  #services = new LayeredMap<string, PolicyGroup>();
  /** By the namespace of services; nearly always empty. */
  #servicesOf = new LayeredMap<string, PolicyGroup>();
  /** By `scopeKey`. */
  #selected = new Map<string, SelectorGroup>();
  /** By namespace (undefined: of the whole mesh), then by the name and value of the first label. */
  #selectors = new Map<string | undefined, Map<string, Map<string, SelectorGroup[]>>>();

  /** As `previous`, to be changed before anyone else sees it. */
  private constructor(policies: readonly CompiledPolicy[], tables: KeyTables, previous: PolicySet | undefined) {
    this.policies = policies;
    this.#tables = tables;
    if (previous === undefined) return;
    this.#mesh = previous.#mesh;
    this.#namespaces = previous.#namespaces;
    this.#services = previous.#services;
    this.#servicesOf = previous.#servicesOf;
    this.#selected = previous.#selected;
    this.#selectors = previous.#selectors;
  }

  /** A generator, so that the caller can pause. Groups without a change are taken from `previous`. */
  static *build(policies: readonly CompiledPolicy[], previous: PolicySet | undefined): Generator<void, PolicySet> {
    const changes = previous === undefined ? undefined : changesBetween(previous.policies, policies);
    if (previous === undefined || changes === undefined) {
      const none = new PolicySet([], new KeyTables(), undefined);
      return yield* none.#change(policies, { removed: new Set(), added: policies });
    }
    return yield* previous.#change(policies, changes);
  }

  *#change(policies: readonly CompiledPolicy[], { removed, added }: Changes): Generator<void, PolicySet> {
    // Tables that nothing uses any more go with the rest now and then.
    const tables = this.#tables.isFull ? new KeyTables() : this.#tables;
    const next = new PolicySet(policies, tables, this);
    const additions = byScope(added);
    const scopes = new Map([...byScope(removed), ...additions]);
    const namespaces = new Map<string, PolicyGroup | undefined>();
    const services = new Map<string, PolicyGroup | undefined>();
    const servicesOf = new Map<string, PolicyGroup | undefined>();
    const selected = new Map<string, SelectorGroup | undefined>();
    let count = 0;
    for (const [key, { scope }] of scopes) {
      count += 1;
      if (count % 64 === 0) yield;
      const list = additions.get(key)?.list ?? [];
      const known = this.#groupOf(key, scope);
      const changed =
        known === undefined ? yield* PolicyGroup.build(list, tables) : yield* known.change(removed, list, tables);
      const group = changed.policies.length === 0 ? undefined : changed;
      if (scope.kind === 'mesh') next.#mesh = group;
      else if (scope.kind === 'namespace') namespaces.set(scope.namespace, group);
      else if (scope.kind === 'service') services.set(scope.service, group);
      else if (scope.kind === 'services') servicesOf.set(scope.namespace, group);
      else selected.set(key, group && { namespace: scope.namespace, labels: Object.entries(scope.labels), group });
    }
    next.#namespaces = this.#namespaces.with(namespaces);
    next.#services = this.#services.with(services);
    next.#servicesOf = this.#servicesOf.with(servicesOf);
    if (selected.size > 0) next.#selectAlso(selected);
    return next;
  }

  #groupOf(key: string, scope: PolicyScope): PolicyGroup | undefined {
    switch (scope.kind) {
      case 'mesh':
        return this.#mesh;
      case 'namespace':
        return this.#namespaces.get(scope.namespace);
      case 'service':
        return this.#services.get(scope.service);
      case 'services':
        return this.#servicesOf.get(scope.namespace);
      case 'selector':
        return this.#selected.get(key)?.group;
    }
  }

  #selectAlso(changes: ReadonlyMap<string, SelectorGroup | undefined>): void {
    this.#selected = new Map(this.#selected);
    for (const [key, selector] of changes) {
      if (selector === undefined) this.#selected.delete(key);
      else this.#selected.set(key, selector);
    }
    this.#selectors = new Map();
    for (const selector of this.#selected.values()) {
      const { namespace, labels } = selector;
      const [name, value] = labels[0] ?? ['', ''];
      const byName = this.#selectors.get(namespace) ?? new Map<string, Map<string, SelectorGroup[]>>();
      this.#selectors.set(namespace, byName);
      const byValue = byName.get(name) ?? new Map<string, SelectorGroup[]>();
      byName.set(name, byValue);
      const list = byValue.get(value);
      if (list === undefined) byValue.set(value, [selector]);
      else list.push(selector);
    }
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
      if (group !== undefined) into.addOnce(group);
    }
    if (this.#servicesOf.size > 0) this.#collectServicesOf(destination.namespace, services, into);
  }

  #collectServicesOf(own: string, services: readonly string[], into: Applicable): void {
    for (const service of services) {
      const namespace = service.includes('/') ? service.slice(0, service.indexOf('/')).replace(/^.*:/, '') : own;
      const group = this.#servicesOf.get(namespace);
      if (group !== undefined) into.addOnce(group);
    }
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

interface Changes {
  readonly removed: ReadonlySet<CompiledPolicy>;
  readonly added: Iterable<CompiledPolicy>;
}

/** Undefined when there are many. */
function changesBetween(before: readonly CompiledPolicy[], after: readonly CompiledPolicy[]): Changes | undefined {
  const removed = new Set<CompiledPolicy>();
  const added = new Set<CompiledPolicy>();
  const length = Math.max(before.length, after.length);
  // Most stand where they stood, or as far from it as the last that did not.
  for (let index = 0; index < length; index += 1) {
    const one = before[index];
    const other = after[index];
    if (one === other) continue;
    if (one !== undefined && !added.delete(one)) removed.add(one);
    if (other !== undefined && !removed.delete(other)) added.add(other);
  }
  return removed.size + added.size > maxChangedShare * after.length ? undefined : { removed, added };
}

function byScope(
  policies: Iterable<CompiledPolicy>,
): Map<string, { readonly scope: PolicyScope; readonly list: CompiledPolicy[] }> {
  const members = new Map<string, { readonly scope: PolicyScope; readonly list: CompiledPolicy[] }>();
  for (const policy of policies) {
    for (const scope of policy.head.scopes) {
      const key = scopeKey(scope);
      const known = members.get(key);
      if (known === undefined) members.set(key, { scope, list: [policy] });
      else if (known.list.at(-1) !== policy) known.list.push(policy);
    }
  }
  return members;
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
