/**
 * The `meshwright` command: finds the subcommand, reports errors in one form, and turns the outcome into an exit status.
 * What a subcommand does lives in its own folder and is registered in `commands.ts`.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { describeError, isMeshwrightError } from '../core/index.js';
import { commands } from './commands.js';
import { exitStatus } from './exit-status.js';

const helpFooter = `
Exit status:
  0  done, and the answer is positive
  1  done, and the answer is negative (a policy test failed, lint found errors, the request is denied)
  2  not done (unknown command or option, unreadable input)

The reference agent ("mesh status", "mesh tunnels", "mesh vips") and the controller are programs of their own: see examples/
in the repository.`;

/** The version of the package that this file is part of. */
function packageVersion(): string {
  // By name and not by relative path: sources and built files lie at different depths.
  const path = createRequire(import.meta.url).resolve('meshwright/package.json');
  const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version);
  throw new Error(`expected a version in ${path}`);
}

/** Makes `command` and all below it throw instead of ending the process, and point to their help after a usage error. */
function tame(command: Command, parents: string): Command {
  const path = `${parents} ${command.name()}`;
  command.exitOverride().showHelpAfterError(`(run "${path} --help" for usage)`);
  for (const child of command.commands) tame(child, path);
  return command;
}

/** The whole command tree, made anew for one run. */
export function createProgram(): Command {
  const program = new Command('meshwright')
    .description('Identity, policy and interception for a service mesh without sidecars.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help for a command')
    .usage('<command> [options]')
    .addHelpText('after', helpFooter)
    .exitOverride()
    .showHelpAfterError('(run "meshwright --help" for the list of commands)');
  for (const create of commands) program.addCommand(tame(create(), 'meshwright'));
  return program;
}

/**
 * Runs one command line, without the program's own name: `runCli(['policy', 'lint', 'policies/'])`.
 * Resolves to the exit status; never rejects.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  const program = createProgram();
  if (args.length === 0) {
    program.outputHelp({ error: true });
    return exitStatus.unable;
  }
  try {
    await program.parseAsync([...args], { from: 'user' });
    return typeof process.exitCode === 'number' ? process.exitCode : exitStatus.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitStatus.ok : exitStatus.unable;
    const code = isMeshwrightError(error) ? `${error.code}: ` : '';
    process.stderr.write(`meshwright: ${code}${describeError(error)}\n`);
    return exitStatus.unable;
  }
}
