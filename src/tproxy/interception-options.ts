import type { Clock, Logger, Observer } from '../core/index.js';
import type { TproxyEvent } from './events.js';
import type { InterceptionMarks } from './marks.js';
import type { NetworkInterface } from './network-interfaces.js';
import type { InterceptionMode } from './rule-backend.js';
import type { RunCommand } from './run-command.js';

/** What `Interception` takes and gives. */

export interface InterceptionOptions {
  /** Default `auto`: nftables where `nft` works, else iptables. */
  readonly backend?: 'auto' | 'nftables' | 'iptables' | undefined;
  /** Default `auto`: TPROXY where it can work, else REDIRECT. */
  readonly mode?: 'auto' | InterceptionMode | undefined;
  /** Port of the listener for traffic of local pods. Default 15001. */
  readonly outboundPort?: number | undefined;
  /** Port of the listener for traffic to local enrolled pods. Default 15006. */
  readonly inboundPort?: number | undefined;
  readonly marks?: Partial<InterceptionMarks> | undefined;
  /** Number of the routing table that delivers captured packets. Default 15001. */
  readonly routeTable?: number | undefined;
  /**
   * What becomes of captured traffic after `close()`: `closed` (default) keeps the rules, so that it is refused while no
   * listener is there; `open` removes them, so that it flows in plaintext as without the mesh.
   */
  readonly failurePolicy?: 'closed' | 'open' | undefined;
  readonly logger?: Logger | undefined;
  readonly observer?: Observer<TproxyEvent> | undefined;
  readonly clock?: Clock | undefined;
  /** Replaces running `nft`, `iptables` and `ip`; for tests of the rule text. */
  readonly run?: RunCommand | undefined;
  /** Replaces reading the interfaces of the machine; for tests of the rule text. */
  readonly interfaces?: (() => Promise<readonly NetworkInterface[]>) | undefined;
}

/** What is in place, for status output. */
export interface InterceptionDescription {
  readonly backend: 'nftables' | 'iptables';
  /** Of the rules in place; undefined before the first `apply` and after `clear`. */
  readonly mode: InterceptionMode | undefined;
  readonly counts: {
    readonly pods: number;
    readonly outbound: number;
    readonly inbound: number;
    readonly probes: number;
  };
  /** Interfaces of the plan that do not exist; their pods are no sources. */
  readonly missingInterfaces: readonly string[];
  /** Shows the rules when typed as root. */
  readonly inspectCommand: string;
  readonly failurePolicy: 'closed' | 'open';
  readonly outboundPort: number;
  readonly inboundPort: number;
}

export interface VerifyResult {
  /** The kernel's rules are those of the last plan. */
  readonly ok: boolean;
  /** What differs, as sentences. */
  readonly problems: readonly string[];
}

export interface ApplyResult {
  readonly mode: InterceptionMode;
  readonly missingInterfaces: readonly string[];
  /** Tracked connections to newly captured destinations that were cut loose. */
  readonly forgottenConnections: number;
}
