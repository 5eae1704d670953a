/** The answer: one frozen object that enforcement, access log, metrics and tests share. */
export interface Decision {
  readonly allowed: boolean;
  readonly action: 'allow' | 'deny';
  /** `namespace/name` of the policy that decided; absent when no single policy did. */
  readonly policy?: string;
  /** Index of the rule that decided, from 0. */
  readonly rule?: number;
  /** Why, as a sentence for operators; never shown to the peer. */
  readonly reason: string;
  /** What the decision would be if the dry-run policies were enforced too; present when one applies to the destination. */
  readonly dryRun?: Omit<Decision, 'dryRun' | 'audited'>;
  /** `namespace/name` of the AUDIT policies that matched; present when there is one. */
  readonly audited?: readonly string[];
}

/** What can be said of a connection before its first HTTP request. */
export interface ConnectionDecision {
  /** `allow` and `deny` hold whatever is sent; `needs-http` means that the requests, or their absence, decide. */
  readonly verdict: 'allow' | 'deny' | 'needs-http';
  /** For `needs-http`: the decision for a stream that turns out not to be HTTP. */
  readonly decision: Decision;
}

/** A decision with the connection forms of itself, built once so that deciding allocates nothing. */
export interface PreparedDecision {
  readonly decision: Decision;
  readonly connection: ConnectionDecision;
  readonly needsHttp: ConnectionDecision;
}

export function prepareDecision(
  action: 'allow' | 'deny',
  reason: string,
  by?: { readonly policy: string; readonly rule?: number },
): PreparedDecision {
  return wrapDecision(
    Object.freeze({
      allowed: action === 'allow',
      action,
      ...(by === undefined ? {} : { policy: by.policy }),
      ...(by?.rule === undefined ? {} : { rule: by.rule }),
      reason,
    }),
  );
}

export function wrapDecision(decision: Decision): PreparedDecision {
  return Object.freeze({
    decision,
    connection: Object.freeze({ verdict: decision.action, decision }),
    needsHttp: Object.freeze({ verdict: 'needs-http', decision }),
  });
}
