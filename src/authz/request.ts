/** What the engine is asked: verified facts about one connection or one request on it. */
export interface AuthzRequest {
  readonly source: {
    /** The workload's SPIFFE ID as a full URI, verified. Leave it out when there is none (plaintext). */
    readonly principal?: string | undefined;
    /** The SPIFFE ID of the node (agent) that speaks for it, as a full URI, verified. */
    readonly node?: string | undefined;
    /** The address of the peer connection. */
    readonly ip?: string | undefined;
    /** The client's address after forwarded-for or PROXY handling by a trusted proxy; `ip` when there was none. */
    readonly remoteIp?: string | undefined;
  };
  readonly destination: {
    readonly namespace: string;
    /**
     * ALL services that have this pod and port as an endpoint, as `namespace/name` (a bare name means `namespace`). The
     * policies of all of them form one set.
     */
    readonly services?: readonly string[] | undefined;
    /** The pod's name. */
    readonly workload?: string | undefined;
    /** The pod's labels. */
    readonly labels?: Readonly<Record<string, string>> | undefined;
    readonly ip?: string | undefined;
    readonly port?: number | undefined;
    /** Server name of the TLS handshake, if any. */
    readonly sni?: string | undefined;
  };
  /** The HTTP request; absent for an opaque stream. */
  readonly http?:
    | {
        readonly method: string;
        /** The request target's path and query, as received: the engine normalises it. */
        readonly path: string;
        /** `Host` or `:authority`, port included if sent. */
        readonly host?: string | undefined;
        readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined;
      }
    | undefined;
  /** A JSON Web Token that was validated. */
  readonly jwt?:
    | {
        readonly claims: Readonly<Record<string, unknown>>;
        readonly spaceDelimitedClaims?: readonly string[] | undefined;
      }
    | undefined;
  /** Outcomes of CUSTOM providers by name; one that is needed and missing denies. */
  readonly custom?: Readonly<Record<string, 'allow' | 'deny'>> | undefined;
}
