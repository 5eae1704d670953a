import { Command } from 'commander';
import { auditCommand } from './audit.js';
import { bundleCommand, initCommand, issueCommand, showCommand, tokenCommand } from './issue.js';
import { denyCommand, rotateCommand } from './operate.js';

const footer = `
These commands open the CA themselves, so the controller that uses it must be stopped meanwhile: a store that is in use
is refused (CA_STORE_LOCKED). What they do is recorded in <directory>/audit.jsonl.`;

/** `meshwright ca`: a certificate authority in a directory. */
export function caCommand(): Command {
  const command = new Command('ca')
    .description('make and operate a certificate authority')
    .addHelpText('after', footer);
  for (const create of [
    initCommand,
    issueCommand,
    showCommand,
    bundleCommand,
    rotateCommand,
    denyCommand,
    tokenCommand,
    auditCommand,
  ]) {
    command.addCommand(create());
  }
  return command;
}
