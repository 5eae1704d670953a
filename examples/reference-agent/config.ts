import { readFile } from 'node:fs/promises';
import { defaultMarks } from 'meshwright/tproxy';
import { parse } from 'yaml';
import { z } from 'zod';

const port = z.number().int().min(1).max(65535);
const mark = z.object({ mark: z.number().int(), mask: z.number().int() }).strict();
const listener = z.object({ host: z.string(), port }).strict();

/** The agent's configuration file; an unknown key is an error. */
export const agentConfigSchema = z
  .object({
    /** This machine's name, as the `Node` manifest has it. */
    node: z.string().min(1),
    trustDomain: z.string().default('cluster.local'),
    /** Where everything that must survive a restart is kept (0600). */
    data: z.string().min(1),
    controller: z.object({ address: z.string() }).strict(),
    /** One-time join token with the pin of the mesh's root; needed until the first certificate is here. */
    joinFile: z.string().optional(),
    /** Instead of `joinFile`, in a Kubernetes cluster: also joins anew when a certificate ended while nobody answered. */
    kubernetesJoin: z
      .object({
        /** Projected service-account token, for the controller's audience; the kubelet replaces it. */
        tokenFile: z.string(),
        /** Pins of the mesh's roots, one a line. */
        rootPinFile: z.string(),
      })
      .strict()
      .optional(),
    tunnel: listener.default({ host: '0.0.0.0', port: 15002 }),
    outbound: listener.default({ host: '::', port: 15001 }),
    inbound: listener.default({ host: '::', port: 15006 }),
    interception: z
      .object({
        backend: z.enum(['auto', 'nftables', 'iptables']).default('auto'),
        mode: z.enum(['auto', 'tproxy', 'redirect']).default('auto'),
        failurePolicy: z.enum(['closed', 'open']).default('closed'),
        /** Bits of the packet mark that belong to the mesh: of captured packets, and of the agent's own. */
        marks: z
          .object({ intercept: mark.default(defaultMarks.intercept), upstream: mark.default(defaultMarks.upstream) })
          .strict()
          .default(defaultMarks),
      })
      .strict()
      .default({ backend: 'auto', mode: 'auto', failurePolicy: 'closed', marks: defaultMarks }),
    /** Virtual IPs (`ProxyVIP`) that this node may announce. */
    vips: z
      .object({
        /** On the segment of the layer 2 addresses; a ProxyVIP may name another. Default: none, so that it must. */
        interface: z.string().optional(),
        /** Carries the addresses that are announced by BGP. */
        device: z.string().default('lo'),
        /** Take BGP connections from routers; without it routers are dialled only. */
        listen: z
          .object({ port, hosts: z.array(z.string()).optional() })
          .strict()
          .optional(),
        /** Files with the TCP MD5 passwords, by the address of the router. */
        passwordFiles: z.record(z.string(), z.string()).default({}),
        /** Who decides which node owns a layer 2 address: the controller, or an etcd cluster, which outlives it. */
        etcd: z
          .object({
            endpoints: z.array(z.string()).min(1),
            caFile: z.string().optional(),
            certFile: z.string().optional(),
            keyFile: z.string().optional(),
          })
          .strict()
          .optional(),
      })
      .strict()
      .default({ device: 'lo', passwordFiles: {} }),
    /** Take a source address for an identity without pinning it to an interface. Only where nobody can spoof. */
    trustNetworkForSource: z.boolean().default(false),
    metrics: listener.default({ host: '127.0.0.1', port: 9090 }),
    /** Unix socket of `mesh status`, `mesh tunnels` and `mesh vips`. */
    admin: z.string().default('/run/meshwright/agent.sock'),
    /** How long open connections may go on after SIGTERM. */
    drainTimeoutMs: z.number().int().min(0).default(5_000),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .strict()
  .refine((config) => config.joinFile === undefined || config.kubernetesJoin === undefined, {
    error: 'expected joinFile or kubernetesJoin, not both',
  });

export type AgentConfig = z.output<typeof agentConfigSchema>;

export async function loadAgentConfig(file: string): Promise<AgentConfig> {
  const result = agentConfigSchema.safeParse(parse(await readFile(file, 'utf8')));
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `  ${issue.path.join('.') || '(file)'}: ${issue.message}`);
  throw new Error(`${file} is not an agent configuration:\n${problems.join('\n')}`);
}
