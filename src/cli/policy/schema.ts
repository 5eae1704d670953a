/** `meshwright policy schema KIND`: the JSON Schema of a policy, for editors. */
import { Argument, Command } from 'commander';
import { policySchemas } from '../../authz/index.js';

export function schemaCommand(): Command {
  return new Command('schema')
    .description('print the JSON Schema of a kind of policy, for editors')
    .addArgument(new Argument('<kind>', 'which one').choices(Object.keys(policySchemas)))
    .action((kind: string) => {
      console.log(JSON.stringify(policySchemas[kind], undefined, 2));
    });
}
