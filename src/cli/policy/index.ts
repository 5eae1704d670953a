import { Command } from 'commander';
import { explainCommand } from './explain.js';
import { lintCommand } from './lint.js';
import { matrixCommand } from './matrix.js';
import { schemaCommand } from './schema.js';
import { testCommand } from './test.js';

/** `meshwright policy`: work on authorization policies offline. */
export function policyCommand(): Command {
  return new Command('policy')
    .description('test, check and explain authorization policies offline')
    .addCommand(testCommand())
    .addCommand(lintCommand())
    .addCommand(explainCommand())
    .addCommand(matrixCommand())
    .addCommand(schemaCommand());
}
