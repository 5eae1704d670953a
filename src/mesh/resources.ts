/**
 * The resource model: what a controller knows, and, cut down to one node, what an agent is sent. One schema for both;
 * `meshwright/kubernetes` maps manifests to it, `createTestMesh` builds it directly.
 *
 * Addresses are canonical text (see `parseIp`). Names follow Kubernetes: a workload is a pod.
 */
import { z } from 'zod';
import { tryParseIp } from '../core/index.js';
import { TrustDomain } from '../spiffe/index.js';
import { meshVipSchema } from './vip-resources.js';

/**
 * A name as Kubernetes has them, a little wider: never a slash (`namespace/name` must read one way only), white space or a
 * control character (names reach logs and terminals).
 */
const name = z.string().regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/, {
  message: 'expected a name of 1 to 253 letters, digits, dots, dashes and underscores',
});
/** `namespace/name`. */
const key = z.string().regex(/^[A-Za-z0-9._-]{1,253}\/[A-Za-z0-9._-]{1,253}$/, { message: 'expected namespace/name' });
const trustDomain = z.string().refine(isTrustDomain, { message: 'expected a trust domain such as cluster.local' });
const ip = z.string().refine((text) => tryParseIp(text) === text, { message: 'expected a canonical IP address' });
const port = z.number().int().min(1).max(65535);

/** A machine that runs an agent. */
export const meshNodeSchema = z
  .object({
    name,
    /** Where its agent's tunnel is dialled; also the addresses of the host itself. */
    addresses: z.array(ip).min(1),
    /** The agent's tunnel port. Default 15002. */
    tunnelPort: port.default(15002),
  })
  .strict()
  .readonly();

export const workloadPortSchema = z
  .object({ port, name: z.string().optional(), protocol: z.enum(['TCP', 'UDP']).default('TCP') })
  .strict()
  .readonly();

/** A pod. Every pod of a node is a possible source; only enrolled ones are destinations of the mesh. */
export const workloadSchema = z
  .object({
    namespace: name,
    name,
    node: name,
    serviceAccount: name.default('default'),
    addresses: z.array(ip).min(1),
    labels: z.record(z.string(), z.string()).default({}),
    /** Selected by an annotated Service, or annotated itself or through its owner. */
    enrolled: z.boolean(),
    ready: z.boolean().default(true),
    ports: z.array(workloadPortSchema).default([]),
    /** Ports of declared liveness, readiness and startup probes: the host may reach these in plaintext. */
    probePorts: z.array(port).default([]),
    /** What to do with plaintext that arrives for it (enrolled workloads only). */
    mtlsMode: z.enum(['STRICT', 'PERMISSIVE', 'DISABLE']).default('STRICT'),
    /** Host-side interface of the pod, when the operator knows it; otherwise the agent finds it by route. */
    hostInterface: z.string().optional(),
  })
  .strict()
  .readonly();

export const serviceEndpointSchema = z
  .object({
    address: ip,
    /** The pod's port, after targetPort was resolved. */
    port,
    /** `namespace/name` of the workload. */
    workload: key,
    node: name,
    ready: z.boolean().default(true),
  })
  .strict()
  .readonly();

export const servicePortSchema = z
  .object({
    port,
    name: z.string().optional(),
    protocol: z.enum(['TCP', 'UDP']).default('TCP'),
    appProtocol: z.string().optional(),
    endpoints: z.array(serviceEndpointSchema),
  })
  .strict()
  .readonly();

export const meshServiceSchema = z
  .object({
    namespace: name,
    name,
    /** Empty for a headless service. */
    clusterIps: z.array(ip),
    enrolled: z.boolean(),
    ports: z.array(servicePortSchema),
  })
  .strict()
  .readonly();

/** A policy manifest as written, with where it was written; the agent's authorization engine compiles it. */
export const policyManifestSchema = z
  .object({ source: z.string().optional(), manifest: z.record(z.string(), z.unknown()) })
  .strict()
  .readonly();

export const meshSettingsSchema = z
  .object({
    /** Namespace whose Istio policies apply to the whole mesh. Default `istio-system`. */
    rootNamespace: name.default('istio-system'),
    /** What happens at a destination that no policy targets. Default `allow`, as the NovaEdge guide has it. */
    defaultAction: z.enum(['allow', 'deny']).default('allow'),
    /** Plaintext from the host to enrolled pods. Default `probes`: declared probe ports only. */
    hostTraffic: z.enum(['probes', 'allow', 'deny']).default('probes'),
    /** Whether policies may have tiers, audit mode and ends (`dialects` of `meshwright/authz`). Default false. */
    meshwrightDialect: z.boolean().default(false),
  })
  .strict()
  .readonly();

/**
 * Everything at once. For an agent: all nodes and enrolled services it may dial, the workloads of its own node in full
 * plus the enrolled ones elsewhere, and the policies that target its own workloads.
 */
export const meshStateSchema = z
  .object({
    trustDomain,
    nodes: z.array(meshNodeSchema),
    workloads: z.array(workloadSchema),
    services: z.array(meshServiceSchema),
    policies: z.array(policyManifestSchema),
    /** For an agent: those that its node may announce. */
    vips: z.array(meshVipSchema).default([]),
    /**
     * `namespace/name` of services whose policies could not be read and have no last good form: everything to them is
     * denied. `namespace/*` denies all workloads of a namespace, `*` all.
     */
    denied: z.array(z.object({ service: z.string(), reason: z.string() }).strict().readonly()).default([]),
    settings: meshSettingsSchema.default({
      rootNamespace: 'istio-system',
      defaultAction: 'allow',
      hostTraffic: 'probes',
      meshwrightDialect: false,
    }),
  })
  .strict()
  .readonly();

export type MeshNode = z.output<typeof meshNodeSchema>;
export type Workload = z.output<typeof workloadSchema>;
export type WorkloadPort = z.output<typeof workloadPortSchema>;
export type ServiceEndpoint = z.output<typeof serviceEndpointSchema>;
export type ServicePort = z.output<typeof servicePortSchema>;
export type MeshService = z.output<typeof meshServiceSchema>;
export type PolicyManifest = z.output<typeof policyManifestSchema>;
export type MeshSettings = z.output<typeof meshSettingsSchema>;
export type MeshState = z.output<typeof meshStateSchema>;
/** What callers write: defaults may be left out. */
export type MeshStateInput = z.input<typeof meshStateSchema>;

function isTrustDomain(text: string): boolean {
  try {
    TrustDomain.parse(text);
    return true;
  } catch {
    return false;
  }
}
