import type { RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Logger } from '../core/index.js';
import type { MeshSettings } from '../mesh/index.js';

/** A server of a test workload: an HTTP listener, or a handler of raw TCP connections. */
export type TestServer = RequestListener | { readonly tcp: (socket: Socket) => void };

export interface TestWorkloadOptions {
  readonly node: string;
  /** Default: the workload's name. */
  readonly serviceAccount?: string | undefined;
  /** What it serves, by port. A workload without servers is a client. */
  readonly servers?: Readonly<Record<number, TestServer>> | undefined;
  /** Whether it is a destination of the mesh. Default: whether it has servers. */
  readonly enrolled?: boolean | undefined;
  readonly ready?: boolean | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly mtlsMode?: 'STRICT' | 'PERMISSIVE' | 'DISABLE' | undefined;
}

export interface TestServiceOptions {
  /** `namespace/name` of its workloads. */
  readonly workloads: readonly string[];
  /** Service port. Default: the target port. */
  readonly port?: number | undefined;
  /** The workloads' port. Default: the only port that the first workload serves. */
  readonly targetPort?: number | undefined;
}

export interface TestMeshOptions {
  /** Default `cluster.local`. */
  readonly trustDomain?: string | undefined;
  /** Node names. Default: those that workloads name. */
  readonly nodes?: readonly string[] | undefined;
  /** By `namespace/name`. */
  readonly workloads: Readonly<Record<string, TestWorkloadOptions>>;
  /** By `namespace/name`. */
  readonly services?: Readonly<Record<string, TestServiceOptions>> | undefined;
  /** Policy manifests (`ProxyPolicy` and what else `meshwright/authz` reads), as objects. */
  readonly policies?: readonly Readonly<Record<string, unknown>>[] | undefined;
  readonly settings?: Partial<MeshSettings> | undefined;
  /** Default 24 h. */
  readonly svidTtlMs?: number | undefined;
  /** Default 1 h. */
  readonly tokenTtlMs?: number | undefined;
  /**
   * Nodes join over a control plane on loopback and from then on know of certificates, tokens and bundles only what comes
   * over it, as agents do; else they are handed everything by the CA. By the real clock. Default false.
   */
  readonly controlPlane?: boolean | undefined;
  /** Wall time for certificates and tokens, and all timers. Default: a `FakeClock` at the present time. */
  readonly clock?: Clock | undefined;
  /** How long a client may be silent on a port with HTTP rules before it counts as server-first. Default 3,000. */
  readonly detectTimeoutMs?: number | undefined;
  readonly logger?: Logger | undefined;
}
