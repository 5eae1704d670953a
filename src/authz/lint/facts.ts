/** What the mesh has, as far as it is known, for checks of policies against it. */

export interface LintPort {
  /** The port of the pods. */
  readonly port: number;
  /** `tcp`: never judged as HTTP. Left out when it is not known. */
  readonly protocol?: 'http' | 'tcp' | undefined;
}

export interface LintService {
  /** `namespace/name`. */
  readonly name: string;
  /** Left out when they are not known. */
  readonly ports?: readonly LintPort[] | undefined;
}

/** What is left out is not checked. */
export interface LintFacts {
  /** Every service: `namespace/name`, or with its ports. */
  readonly services?: readonly (string | LintService)[] | undefined;
  /** Every workload's namespace and labels. */
  readonly workloads?:
    readonly { readonly namespace: string; readonly labels: Readonly<Record<string, string>> }[] | undefined;
  /**
   * Whether the facts are all there is. False for what was found beside the policies: then a namespace of which nothing
   * was found is not checked. Default true.
   */
  readonly complete?: boolean | undefined;
}
