/**
 * MeshAuthorization policies written in TypeScript. With the names of the mesh given, a workload or service that does
 * not exist is a type error; the result is the same manifest that one would write in YAML.
 */
import { stringify } from 'yaml';
import { AuthzError } from './errors.js';

/** Service accounts and services by namespace. */
export interface MeshNames {
  readonly workloads: Readonly<Record<string, string>>;
  readonly services: Readonly<Record<string, string>>;
}

/** Who asks: fields of one `from` entry. */
export interface SourceSpec {
  readonly namespaces?: readonly string[];
  readonly serviceAccounts?: readonly string[];
  readonly spiffeIds?: readonly string[];
}

/** A Service that a policy is for. */
export interface ServiceTarget {
  readonly namespace: string;
  readonly name: string;
}

interface OperationSpec {
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
}

/** What `manifest()` gives. */
export interface MeshAuthorizationManifest {
  readonly apiVersion: 'novaedge.io/v1alpha1';
  readonly kind: 'ProxyPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly type: 'MeshAuthorization';
    readonly targetRef: { readonly kind: 'Service'; readonly name: string };
    readonly meshAuthorization: {
      readonly action: 'ALLOW' | 'DENY';
      readonly rules: readonly { readonly from?: readonly SourceSpec[]; readonly to?: readonly OperationSpec[] }[];
    };
  };
}

interface Draft {
  readonly action: 'ALLOW' | 'DENY';
  readonly sources: readonly SourceSpec[];
  readonly target: ServiceTarget | undefined;
  readonly operations: readonly OperationSpec[];
  readonly name: string | undefined;
}

/** A policy with one rule. Every call returns a new draft; the old one stays as it was. */
export class PolicyDraft {
  readonly #draft: Draft;

  constructor(draft: Draft) {
    this.#draft = draft;
  }

  /** The Service that it is for, in whose namespace the policy will stand. */
  to(target: ServiceTarget): PolicyDraft {
    return this.#with({ target });
  }

  /** The policy's name. Default `allow-` or `deny-` and the service's name. */
  named(name: string): PolicyDraft {
    return this.#with({ name });
  }

  /** GET on any of `paths`; without paths on all. */
  get(...paths: readonly string[]): PolicyDraft {
    return this.method('GET', ...paths);
  }

  post(...paths: readonly string[]): PolicyDraft {
    return this.method('POST', ...paths);
  }

  put(...paths: readonly string[]): PolicyDraft {
    return this.method('PUT', ...paths);
  }

  delete(...paths: readonly string[]): PolicyDraft {
    return this.method('DELETE', ...paths);
  }

  /** `method` on any of `paths`; without paths on all. Calls add up: each is one more thing that the rule matches. */
  method(method: string, ...paths: readonly string[]): PolicyDraft {
    return this.#operation({ methods: [method], ...(paths.length === 0 ? {} : { paths }) });
  }

  /** Any method on any of `paths`. */
  paths(...paths: readonly string[]): PolicyDraft {
    return this.#operation({ paths });
  }

  /** The manifest, for `AuthzEngine.compile`. Throws `AUTHZ_POLICY_INCOMPLETE` without a target. */
  manifest(): MeshAuthorizationManifest {
    const { action, sources, target, operations, name } = this.#draft;
    if (target === undefined) {
      throw new AuthzError(
        'AUTHZ_POLICY_INCOMPLETE',
        'expected a policy with a target, got one without; call to(service(namespace, name))',
      );
    }
    return {
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: { name: name ?? `${action.toLowerCase()}-${target.name}`, namespace: target.namespace },
      spec: {
        type: 'MeshAuthorization',
        targetRef: { kind: 'Service', name: target.name },
        meshAuthorization: {
          action,
          rules: [
            {
              ...(sources.length === 0 ? {} : { from: sources }),
              ...(operations.length === 0 ? {} : { to: operations }),
            },
          ],
        },
      },
    };
  }

  /** The manifest as YAML. */
  toString(): string {
    return stringify(this.manifest());
  }

  #operation(operation: OperationSpec): PolicyDraft {
    return this.#with({ operations: [...this.#draft.operations, operation] });
  }

  #with(change: Partial<Draft>): PolicyDraft {
    return new PolicyDraft({ ...this.#draft, ...change });
  }
}

/** The words to write policies with. */
export interface PolicyBuilder<Names extends MeshNames> {
  /** Allows any of the sources. Without one: anybody. */
  allow(...sources: readonly SourceSpec[]): PolicyDraft;
  deny(...sources: readonly SourceSpec[]): PolicyDraft;
  workload<Namespace extends keyof Names['workloads'] & string>(
    namespace: Namespace,
    serviceAccount: Names['workloads'][Namespace],
  ): SourceSpec;
  namespace(name: keyof Names['workloads'] & string): SourceSpec;
  /** A glob over SPIFFE IDs of workloads or nodes, such as `spiffe://cluster.local/agent/edge-*`. */
  spiffe(pattern: string): SourceSpec;
  service<Namespace extends keyof Names['services'] & string>(
    namespace: Namespace,
    name: Names['services'][Namespace],
  ): ServiceTarget;
}

const draft = (action: Draft['action'], sources: readonly SourceSpec[]): PolicyDraft =>
  new PolicyDraft({ action, sources, target: undefined, operations: [], name: undefined });

const words = Object.freeze({
  allow: (...sources: readonly SourceSpec[]) => draft('ALLOW', sources),
  deny: (...sources: readonly SourceSpec[]) => draft('DENY', sources),
  workload: (namespace: string, serviceAccount: string): SourceSpec => ({
    serviceAccounts: [`${namespace}/${serviceAccount}`],
  }),
  namespace: (name: string): SourceSpec => ({ namespaces: [name] }),
  spiffe: (pattern: string): SourceSpec => ({ spiffeIds: [pattern] }),
  service: (namespace: string, name: string): ServiceTarget => ({ namespace, name }),
});

/**
 * The builder for a mesh whose names are known to the compiler.
 *
 * @example
 * const { allow, workload, service } = policyBuilder<{
 *   workloads: { production: 'web' | 'worker' };
 *   services: { production: 'api' };
 * }>();
 * allow(workload('production', 'web')).to(service('production', 'api')).get('/orders/*').toString();
 */
export function policyBuilder<Names extends MeshNames = MeshNames>(): PolicyBuilder<Names> {
  return words as PolicyBuilder<Names>;
}
