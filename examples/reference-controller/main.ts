/** The command line of the reference controller. Only this file touches arguments, signals and exit codes. */
import { callAdmin } from 'meshwright/mesh';
import { pinoLogger } from 'meshwright/telemetry';
import { Command } from 'commander';
import { loadControllerConfig } from './config.js';
import { startController } from './controller.js';

const program = new Command('reference-controller').description(
  'The reference mesh controller: certificates, tokens, snapshots.',
);

program
  .command('serve')
  .description('run the controller until SIGTERM or SIGINT')
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .action(async ({ config: file }: { config: string }) => {
    const config = await loadControllerConfig(file);
    const logger = pinoLogger({ level: config.logLevel });
    const controller = await startController(config, logger);
    const stop = (signal: string): void => {
      logger.info('stopping', { signal });
      controller.close().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    };
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
  });

program
  .command('join-token')
  .description("make a one-time token with which a node's agent joins; prints it as JSON with the root's pin")
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .requiredOption('--node <name>', 'the node that may join with it')
  .action(async ({ config: file, node }: { config: string; node: string }) => {
    const { admin } = await loadControllerConfig(file);
    process.stdout.write(`${JSON.stringify(await callAdmin(admin, 'join-token', { node }))}\n`);
  });

program
  .command('status')
  .description('print what each agent serves, and problems in the manifests')
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .action(async ({ config: file }: { config: string }) => {
    const { admin } = await loadControllerConfig(file);
    process.stdout.write(`${JSON.stringify(await callAdmin(admin, 'status'), undefined, 2)}\n`);
  });

await program.parseAsync().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
