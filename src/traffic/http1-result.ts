/** How a proxied connection ended, and what it carried. */
export interface Http1ProxyResult {
  /** `eof`: closed in order. `reset`: the client reset it. `error`: see `error`. `aborted`: by `signal`. */
  readonly outcome: 'eof' | 'reset' | 'error' | 'aborted';
  readonly error?: Error | undefined;
  /** Requests whose head was read. */
  readonly requests: number;
  readonly allowed: number;
  /** Refused by `authorize`. */
  readonly refused: number;
  /** Refused before judgement: malformed, ambiguous, beyond a limit. */
  readonly malformed: number;
  /** The connection ended as another protocol, after an allowed Upgrade. */
  readonly upgraded: boolean;
  /** Bytes from the client. */
  readonly receivedBytes: number;
  /** Bytes to the client. */
  readonly sentBytes: number;
}
