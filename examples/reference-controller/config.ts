import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';

const port = z.number().int().min(1).max(65535);
const listener = z.object({ host: z.string(), port }).strict();

/** The controller's configuration file; an unknown key is an error. */
export const controllerConfigSchema = z
  .object({
    trustDomain: z.string().default('cluster.local'),
    /** Where the CA, its audit log (`ca/audit.jsonl`) and the last good manifests are kept. */
    data: z.string().min(1),
    /** 32 random bytes that encrypt the CA's keys at rest; made (0600) when missing. Default `<data>/ca.key`. */
    keyFile: z.string().optional(),
    /** Directory of Kubernetes-shaped manifests; changes take effect at once. */
    manifests: z.string().min(1),
    listen: listener.default({ host: '0.0.0.0', port: 15010 }),
    /** Lets agents join by projected service-account tokens of this cluster. Default: join tokens only. */
    kubernetesJoin: z
      .object({
        /** `iss` of the tokens: the API server's `--service-account-issuer`. */
        issuer: z.string().min(1),
        /** `aud` of the tokens. Default `spiffe://<trust domain>/controller`. */
        audience: z.string().min(1).optional(),
        serviceAccount: z.object({ namespace: z.string(), name: z.string() }).strict(),
        /** The API server: issuer of the keys, and judge of every token (it must let us create tokenreviews). */
        server: z
          .object({
            url: z.string(),
            /** PEM of the cluster's authority. */
            caFile: z.string().optional(),
            /** Our own token, read for each request. */
            tokenFile: z.string().optional(),
          })
          .strict()
          .optional(),
        /** JWKS of the issuer, read again as needed. Default: asked of the server. */
        jwksFile: z.string().optional(),
        maxLifetimeMs: z.number().int().optional(),
        singleUse: z.boolean().default(true),
      })
      .strict()
      .optional(),
    /** Lifetime of agents' certificates. Default 24 h. */
    svidTtlMs: z.number().int().min(2_000).default(86_400_000),
    /** Lifetime of workload tokens. Default 1 h. */
    tokenTtlMs: z.number().int().min(2_000).default(3_600_000),
    /** What happens at a destination without policies. */
    defaultAction: z.enum(['allow', 'deny']).default('allow'),
    /** Plaintext from hosts to enrolled pods. Default: declared probe ports only. */
    hostTraffic: z.enum(['probes', 'allow', 'deny']).default('probes'),
    /** Whether policies may have tiers, audit mode and ends. */
    meshwrightDialect: z.boolean().default(false),
    metrics: listener.default({ host: '127.0.0.1', port: 9091 }),
    /** Unix socket for `join-token`, `status` and `meshwright ca`. */
    admin: z.string().default('/run/meshwright/controller.sock'),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .strict();

export type ControllerConfig = z.output<typeof controllerConfigSchema>;

export async function loadControllerConfig(file: string): Promise<ControllerConfig> {
  const result = controllerConfigSchema.safeParse(parse(await readFile(file, 'utf8')));
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(file)'}: ${issue.message}`);
  throw new Error(`${file} is not a controller configuration:\n${problems.join('\n')}`);
}
