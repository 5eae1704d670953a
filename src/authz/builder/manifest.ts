/** The manifests that the builder writes: what one would write in YAML. */
import type { plainWhenKeys } from '../dialects/when.js';
import type { PolicyAction } from '../compiled-policy.js';

/** Who asks: the fields of one `from` entry, all of which must match. */
export interface SourceSpec {
  readonly namespaces?: readonly string[];
  readonly notNamespaces?: readonly string[];
  readonly serviceAccounts?: readonly string[];
  readonly notServiceAccounts?: readonly string[];
  readonly spiffeIds?: readonly string[];
  readonly notSpiffeIds?: readonly string[];
  readonly ipBlocks?: readonly string[];
  readonly notIpBlocks?: readonly string[];
}

export interface HeaderSpec {
  readonly name: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}

/** What is asked for: the fields of one `to` entry, all of which must match. */
export interface OperationSpec {
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
  readonly hosts?: readonly string[];
  readonly notHosts?: readonly string[];
  readonly ports?: readonly number[];
  readonly notPorts?: readonly number[];
  readonly headers?: readonly HeaderSpec[];
}

/** An attribute of `when`. */
export type ConditionKey =
  | (typeof plainWhenKeys)[number]
  | `request.headers[${string}]`
  | `request.auth.claims[${string}]`
  | `experimental.envoy.filters.${string}[${string}]`;

export interface ConditionSpec {
  readonly key: ConditionKey;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}

/** What a policy is for, and in whose namespace it stands. */
export interface PolicyTarget {
  /** Namespace and Mesh: of the meshwright dialect. */
  readonly kind: 'Service' | 'Namespace' | 'Mesh';
  /** Of the policy: that of the Service, of the Namespace, or the root namespace. */
  readonly namespace: string;
  /** Left out for the mesh. */
  readonly name?: string;
}

export interface RuleSpec {
  readonly from?: readonly SourceSpec[];
  readonly to?: readonly OperationSpec[];
  readonly when?: readonly ConditionSpec[];
}

/** What `manifest()` gives. */
export interface MeshAuthorizationManifest {
  readonly apiVersion: 'novaedge.io/v1alpha1';
  readonly kind: 'ProxyPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly type: 'MeshAuthorization';
    readonly targetRef: { readonly kind: PolicyTarget['kind']; readonly name?: string };
    readonly meshAuthorization: {
      readonly action: Extract<PolicyAction, 'ALLOW' | 'DENY'>;
      readonly rules: readonly RuleSpec[];
      readonly tier?: number;
      readonly mode?: 'ENFORCE' | 'AUDIT';
      readonly notAfter?: string;
      readonly owner?: string;
      readonly reason?: string;
    };
  };
}
