/** `meshwright ca audit verify | show`: a log in a file needs neither the CA nor its key. */
import { Command } from 'commander';
import { readAuditLog, verifyAuditLog } from '../../ca/index.js';
import { isMeshwrightError } from '../../core/index.js';
import { exitStatus } from '../exit-status.js';
import { print } from '../print.js';
import { callCa, withCaOptions } from './open-ca.js';
import type { CaFlags } from './open-ca.js';

interface AuditFlags extends CaFlags {
  readonly expectHead?: string;
}

interface Log {
  readonly file: string;
  readonly expectHead?: string | undefined;
}

export function auditCommand(): Command {
  const verify = withCaOptions(new Command('verify'))
    .description('check the chain of every record; exit status 1 when it is broken')
    .argument(
      '[file]',
      'audit log, such as <store>/audit.jsonl (default: the log of the CA, up to the end that it knows)',
    )
    .option('--expect-head <hash>', 'hash that was the last once: shows that nothing was cut off since')
    .action(async (file: string | undefined, flags: AuditFlags) => {
      const log = await logOf(file, flags);
      try {
        print(flags, { ok: true, file: log.file, ...(await verifyAuditLog(log.file, log)) });
      } catch (error) {
        if (!isMeshwrightError(error, 'CA_AUDIT_BROKEN')) throw error;
        print(flags, { ok: false, file: log.file, problem: error.message });
        process.exitCode = exitStatus.negative;
      }
    });
  const show = withCaOptions(new Command('show'))
    .description('print the records, each after its place in the chain was checked')
    .argument('[file]', 'audit log (default: the log of the CA)')
    .action(async (file: string | undefined, flags: AuditFlags) => {
      const { file: path } = await logOf(file, flags);
      const records = [];
      for await (const record of readAuditLog(path)) {
        const { at, event, operation, who, subject, serial, code, why } = record;
        if (flags.json === true) records.push(record);
        else console.log([at, event, operation, who, subject, serial, code, why].filter(Boolean).join('  '));
      }
      if (flags.json === true) console.log(JSON.stringify(records, undefined, 2));
    });
  return new Command('audit').description('check and read the audit log').addCommand(verify).addCommand(show);
}

/** The file named, or that of the CA together with its last record as the CA knows it. */
async function logOf(file: string | undefined, flags: AuditFlags): Promise<Log> {
  if (file !== undefined) return { file, expectHead: flags.expectHead };
  const { file: own, head } = (await callCa(flags, 'ca-audit')) as { readonly file: string; readonly head: string };
  return { file: own, expectHead: flags.expectHead ?? head };
}
