/** The policies in force, found by what they apply to. */
import type { CompiledPolicy, CompiledRule } from './compiled-policy.js';
import type { AuthzRequest } from './request.js';

/** All policies of one scope, their rules in the order the policies were given. */
export class PolicyGroup {
  readonly policies: CompiledPolicy[] = [];
  readonly deny: CompiledRule[] = [];
  readonly allow: CompiledRule[] = [];
  /** Keys of the ALLOW policies: one of them is enough to make everything else denied, even without rules. */
  readonly allowPolicies: string[] = [];

  add(policy: CompiledPolicy): void {
    this.policies.push(policy);
    if (policy.action === 'DENY') {
      this.deny.push(...policy.rules);
    } else {
      this.allowPolicies.push(policy.key);
      this.allow.push(...policy.rules);
    }
  }
}

export class PolicySet {
  readonly #services = new Map<string, PolicyGroup>();

  constructor(policies: readonly CompiledPolicy[]) {
    for (const policy of policies) {
      const { service } = policy.scope;
      let group = this.#services.get(service);
      if (group === undefined) {
        group = new PolicyGroup();
        this.#services.set(service, group);
      }
      group.add(policy);
    }
  }

  /** Collects into `groups` every group that applies to the destination; a group is listed once. */
  collect(destination: AuthzRequest['destination'], groups: PolicyGroup[]): void {
    groups.length = 0;
    const { services } = destination;
    if (services === undefined) return;
    if (!Array.isArray(services)) throw new TypeError('services must be a list');
    for (const service of services) {
      const group = this.#services.get(service.includes('/') ? service : `${destination.namespace}/${service}`);
      if (group !== undefined && !groups.includes(group)) groups.push(group);
    }
  }
}
