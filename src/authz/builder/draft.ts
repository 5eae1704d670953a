/** A policy being written: immutable, each call gives a new draft. */
import { stringify } from 'yaml';
import { AuthzError } from '../errors.js';
import type {
  ConditionKey,
  ConditionSpec,
  HeaderSpec,
  MeshAuthorizationManifest,
  OperationSpec,
  PolicyTarget,
  SourceSpec,
} from './manifest.js';

/** What `except` takes away. */
export type ExceptionSpec = Pick<OperationSpec, 'methods' | 'paths' | 'hosts' | 'ports'>;

interface Draft {
  readonly action: 'ALLOW' | 'DENY';
  /** Undefined: anyone. */
  readonly sources: readonly SourceSpec[] | undefined;
  readonly target: PolicyTarget | undefined;
  readonly operations: readonly OperationSpec[];
  /** Holds for every operation. */
  readonly limits: OperationSpec;
  readonly conditions: readonly ConditionSpec[];
  readonly name: string | undefined;
  readonly extras: Pick<
    MeshAuthorizationManifest['spec']['meshAuthorization'],
    'tier' | 'mode' | 'notAfter' | 'owner' | 'reason'
  >;
}

/** A policy with one rule. Every call returns a new draft; the old one stays as it was. */
export class PolicyDraft {
  readonly #draft: Draft;

  private constructor(draft: Draft) {
    this.#draft = draft;
  }

  /** `sources` undefined: anyone. */
  static start(action: 'ALLOW' | 'DENY', sources: readonly SourceSpec[] | undefined): PolicyDraft {
    return new PolicyDraft({
      action,
      sources,
      target: undefined,
      operations: [],
      limits: {},
      conditions: [],
      name: undefined,
      extras: {},
    });
  }

  /** What it is for: a Service, or with the meshwright dialect a whole namespace or the mesh. */
  to(target: PolicyTarget): PolicyDraft {
    return this.#with({ target });
  }

  /** The policy's name. Default `allow-` or `deny-` and the target's name. */
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
    return this.operation({ methods: [method], ...(paths.length === 0 ? {} : { paths }) });
  }

  /** Any method on any of `paths`. */
  paths(...paths: readonly [string, ...string[]]): PolicyDraft {
    return this.operation({ paths });
  }

  /** One more thing that the rule matches, with any fields and their not-forms; all of them must match. */
  operation(operation: OperationSpec): PolicyDraft {
    return this.#with({ operations: [...this.#draft.operations, operation] });
  }

  /** Every operation on these destination ports only. */
  ports(...ports: readonly [number, ...number[]]): PolicyDraft {
    return this.#limit({ ports });
  }

  /** Every operation for these hosts only: exact or `*.example`. */
  hosts(...hosts: readonly [string, ...string[]]): PolicyDraft {
    return this.#limit({ hosts });
  }

  /** Every operation only with one of `values` in this header; without values: with the header, whatever it says. */
  header(name: string, ...values: readonly string[]): PolicyDraft {
    return this.#header({ name, values: values.length === 0 ? ['*'] : values });
  }

  /** Every operation only without any of `values` in this header; without values: without the header. */
  withoutHeader(name: string, ...values: readonly string[]): PolicyDraft {
    return this.#header({ name, notValues: values.length === 0 ? ['*'] : values });
  }

  /** Every operation but these: none of the methods, none of the paths, none of the hosts and none of the ports. */
  except({ methods, paths, hosts, ports }: ExceptionSpec): PolicyDraft {
    return this.#limit({
      ...(methods === undefined ? {} : { notMethods: methods }),
      ...(paths === undefined ? {} : { notPaths: paths }),
      ...(hosts === undefined ? {} : { notHosts: hosts }),
      ...(ports === undefined ? {} : { notPorts: ports }),
    });
  }

  /** Only when the attribute has one of `values`. Conditions add up: all must hold. */
  when(key: ConditionKey, ...values: readonly [string, ...string[]]): PolicyDraft {
    return this.#with({ conditions: [...this.#draft.conditions, { key, values }] });
  }

  /** Only when the attribute has none of `values`, or is not there. */
  whenNot(key: ConditionKey, ...values: readonly [string, ...string[]]): PolicyDraft {
    return this.#with({ conditions: [...this.#draft.conditions, { key, notValues: values }] });
  }

  /** Its tier, 0 to 999. Of the meshwright dialect. */
  tier(tier: number): PolicyDraft {
    return this.#with({ extras: { ...this.#draft.extras, tier } });
  }

  /** Observed, or enforced even where others are observed. Of the meshwright dialect. */
  mode(mode: 'ENFORCE' | 'AUDIT'): PolicyDraft {
    return this.#with({ extras: { ...this.#draft.extras, mode } });
  }

  /** Ends by itself at `notAfter`: a Date, or text such as `2027-01-31T18:00:00Z`. Of the meshwright dialect, and of an ALLOW. */
  until(notAfter: Date | string, by: { readonly owner: string; readonly reason: string }): PolicyDraft {
    const { owner, reason } = by;
    const text = typeof notAfter === 'string' ? notAfter : notAfter.toISOString();
    return this.#with({ extras: { ...this.#draft.extras, notAfter: text, owner, reason } });
  }

  /** The manifest, for `AuthzEngine.compile`. Throws `AUTHZ_POLICY_INCOMPLETE` without a target and `AUTHZ_POLICY_CONFLICT`. */
  manifest(): MeshAuthorizationManifest {
    const { action, sources, target, operations, limits, conditions, name, extras } = this.#draft;
    if (target === undefined) {
      throw new AuthzError(
        'AUTHZ_POLICY_INCOMPLETE',
        'expected a policy with a target, got one without; call to(service(namespace, name))',
      );
    }
    const limited = Object.keys(limits).length > 0;
    const to =
      limited && operations.length === 0 ? [limits] : operations.map((operation) => mergeFields(operation, limits));
    return {
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: {
        name: name ?? `${action.toLowerCase()}-${target.name ?? 'mesh'}`,
        namespace: target.namespace,
      },
      spec: {
        type: 'MeshAuthorization',
        targetRef: { kind: target.kind, ...(target.name === undefined ? {} : { name: target.name }) },
        meshAuthorization: {
          action,
          rules: [
            {
              ...(sources === undefined ? {} : { from: sources }),
              ...(to.length === 0 ? {} : { to }),
              ...(conditions.length === 0 ? {} : { when: conditions }),
            },
          ],
          ...extras,
        },
      },
    };
  }

  /** The manifest as YAML. */
  toString(): string {
    return stringify(this.manifest(), { aliasDuplicateObjects: false });
  }

  #header(header: HeaderSpec): PolicyDraft {
    return this.#limit({ headers: [header] });
  }

  #limit(more: OperationSpec): PolicyDraft {
    return this.#with({ limits: mergeFields(this.#draft.limits, more) });
  }

  #with(change: Partial<Draft>): PolicyDraft {
    return new PolicyDraft({ ...this.#draft, ...change });
  }
}

/**
 * The fields of both, all of which must hold. Not-forms and headers add up; of a plain field there is one list, whose
 * values are alternatives. Throws `AUTHZ_POLICY_CONFLICT`.
 */
export function mergeFields<T extends SourceSpec | OperationSpec>(one: T, other: T): T {
  const merged: Record<string, unknown> = { ...one };
  for (const [field, values] of Object.entries(other) as [string, readonly unknown[]][]) {
    const own = merged[field] as readonly unknown[] | undefined;
    if (own !== undefined && field !== 'headers' && !/^not[A-Z]/.test(field)) {
      throw new AuthzError(
        'AUTHZ_POLICY_CONFLICT',
        `expected one list of ${field}, got ${JSON.stringify(own)} and ${JSON.stringify(values)}: the values of a list are alternatives, so write one list of what is meant`,
        { fields: { field } },
      );
    }
    merged[field] = own === undefined ? values : [...own, ...values];
  }
  return merged as T;
}
