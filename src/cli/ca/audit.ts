/** `meshwright ca audit verify | show`: needs neither the CA nor its key. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { CaError, readAuditLog, verifyAuditLog } from '../../ca/index.js';
import { exitStatus } from '../exit-status.js';
import { print } from '../print.js';

interface VerifyFlags {
  readonly json?: true;
  readonly expectHead?: string;
}

export function auditCommand(): Command {
  const verify = new Command('verify')
    .description('check the chain of every record; exit status 1 when it is broken')
    .argument('<file>', 'audit log, such as <store>/audit.jsonl')
    .option('--expect-head <hash>', 'hash that was the last once: shows that nothing was cut off since')
    .option('--json', 'print one JSON object')
    .action((file: string, flags: VerifyFlags) => {
      try {
        print(flags, { ok: true, ...verifyAuditLog(readFileSync(file, 'utf8'), { expectHead: flags.expectHead }) });
      } catch (error) {
        if (!(error instanceof CaError)) throw error;
        print(flags, { ok: false, problem: error.message });
        process.exitCode = exitStatus.negative;
      }
    });
  const show = new Command('show')
    .description('print the records, after checking their chain')
    .argument('<file>', 'audit log')
    .option('--json', 'print one JSON array')
    .action((file: string, flags: VerifyFlags) => {
      const records = readAuditLog(readFileSync(file, 'utf8'));
      if (flags.json === true) console.log(JSON.stringify(records, undefined, 2));
      else {
        for (const { at, event, operation, who, subject, serial, code, why } of records) {
          console.log([at, event, operation, who, subject, serial, code, why].filter(Boolean).join('  '));
        }
      }
    });
  return new Command('audit').description('check and read the audit log').addCommand(verify).addCommand(show);
}
