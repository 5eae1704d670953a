/** The command line of the reference agent. Only this file touches arguments, signals and exit codes. */
import { callAdmin, formatStatus, formatTunnels, formatVips } from 'meshwright/mesh';
import type { AgentStatus, TunnelRow, VipReport } from 'meshwright/mesh';
import { pinoLogger } from 'meshwright/telemetry';
import { Command } from 'commander';
import { startAgent } from './agent.js';
import { loadAgentConfig } from './config.js';

const defaultAdmin = '/run/meshwright/agent.sock';

const program = new Command('reference-agent').description(
  "The reference mesh agent: one on each node, for all the node's pods.",
);

program
  .command('serve')
  .description('run the agent until SIGTERM or SIGINT')
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .action(async ({ config: file }: { config: string }) => {
    const config = await loadAgentConfig(file);
    const logger = pinoLogger({ level: config.logLevel });
    const agent = await startAgent(config, logger);
    const stop = (signal: string): void => {
      logger.info('stopping', { signal });
      agent.close().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  });

const mesh = program.command('mesh').description('ask the running agent');
mesh
  .command('status')
  .description('identity, snapshot, what is captured and how to look at the rules')
  .option('--admin <path>', "the agent's Unix socket", defaultAdmin)
  .option('--json', 'print JSON')
  .action(async ({ admin, json }: { admin: string; json?: boolean }) => {
    const status = (await callAdmin(admin, 'status')) as AgentStatus;
    process.stdout.write(json === true ? `${JSON.stringify(status, undefined, 2)}\n` : formatStatus(status));
  });
mesh
  .command('tunnels')
  .description('the open tunnel sessions')
  .option('--admin <path>', "the agent's Unix socket", defaultAdmin)
  .option('--json', 'print JSON')
  .action(async ({ admin, json }: { admin: string; json?: boolean }) => {
    const tunnels = (await callAdmin(admin, 'tunnels')) as readonly TunnelRow[];
    process.stdout.write(json === true ? `${JSON.stringify(tunnels, undefined, 2)}\n` : formatTunnels(tunnels));
  });
mesh
  .command('vips')
  .description('the virtual IPs of this node, and the routers they are announced to')
  .option('--admin <path>', "the agent's Unix socket", defaultAdmin)
  .option('--json', 'print JSON')
  .action(async ({ admin, json }: { admin: string; json?: boolean }) => {
    const report = (await callAdmin(admin, 'vips')) as VipReport;
    process.stdout.write(json === true ? `${JSON.stringify(report, undefined, 2)}\n` : formatVips(report, Date.now()));
  });

await program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
