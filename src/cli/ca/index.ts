import { Command } from 'commander';
import { auditCommand } from './audit.js';
import { initCommand, issueCommand } from './issue.js';
import { csrCommand, installCommand } from './subordinate.js';
import { bundleCommand, denyCommand, rotateCommand, showCommand, tokenCommand } from './operate.js';

const footer = `
With --store these commands open the CA themselves. When a controller has it open, they ask the controller at its admin
socket, or at the one that --controller names: all but init, issue and the first install, which are for a CA that
nobody has open (CA_STORE_LOCKED). What is done is recorded in <directory>/audit.jsonl either way.`;

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
    csrCommand,
    installCommand,
    denyCommand,
    tokenCommand,
    auditCommand,
  ]) {
    command.addCommand(create());
  }
  return command;
}
