/** `meshwright ca init --subordinate | csr | install`: a CA under an external root. */
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { SpiffeCA, caKeyTypes, fileAuditLog, fileStore } from '../../ca/index.js';
import type { CaKeyType, IssuedChain } from '../../ca/index.js';
import { isMeshwrightError } from '../../core/index.js';
import { print } from '../print.js';
import { auditFile, callCa, storeKey, withCaOptions } from './open-ca.js';
import type { CaFlags, StoreFlags } from './open-ca.js';

interface OutFlags {
  readonly out?: string;
  readonly json?: true;
}

/** Makes the keys of a new subordinate CA, and prints the request; the same one when it is out already. */
export async function beginSubordinate(
  flags: StoreFlags & OutFlags,
  options: { readonly trustDomain: string; readonly keyType: CaKeyType },
): Promise<void> {
  await mkdir(flags.store, { recursive: true, mode: 0o700 });
  const store = fileStore({ directory: flags.store, key: storeKey(flags, true) });
  const audit = () => fileAuditLog({ file: auditFile(flags.store) });
  printRequest(flags, await SpiffeCA.requestSubordinate({ ...options, store, audit }));
}

interface CsrFlags extends CaFlags, OutFlags {
  readonly keyType?: CaKeyType;
  readonly replace?: true;
  readonly withdraw?: true;
  readonly reason?: string;
}

export function csrCommand(): Command {
  return withCaOptions(new Command('csr'))
    .description('request the next certificate of a CA from an external root')
    .addOption(new Option('--key-type <type>', 'of the new key (default: P-256)').choices([...caKeyTypes]))
    .option('--out <file>', 'write the request there instead of to standard output')
    .option('--replace', 'make a new request even if one is out')
    .option('--withdraw', 'forget the request that is out instead')
    .option('--reason <text>', 'why, for the audit log')
    .action(async (flags: CsrFlags) => {
      const { keyType, replace, withdraw, reason } = flags;
      const answer = await callCa(flags, 'ca-csr', { keyType, replace, withdraw, reason });
      if (withdraw === true) print(flags, answer as { readonly withdrawn: boolean });
      else printRequest(flags, answer as { readonly csrPem: string });
    });
}

interface InstallFlags extends CaFlags {
  readonly chain: string;
  readonly root: string;
  readonly reason?: string;
}

const installHelp = `
The first chain makes the CA. A later one is prepared like a new root: then "rotate activate", and "rotate retire".`;

export function installCommand(): Command {
  return withCaOptions(new Command('install'))
    .description('install the certificate that an external root has signed')
    .requiredOption('--chain <file>', 'PEM: the CA’s certificate and the intermediates above it')
    .requiredOption('--root <file>', 'PEM: the one root')
    .option('--reason <text>', 'why, for the audit log')
    .addHelpText('after', installHelp)
    .action(async (flags: InstallFlags) => {
      const chain = { chainPem: readFileSync(flags.chain, 'utf8'), rootPem: readFileSync(flags.root, 'utf8') };
      const { store, reason } = flags;
      try {
        const answer = await callCa(flags, 'ca-install', { ...chain, reason });
        print(flags, answer as Readonly<Record<string, unknown>>);
      } catch (error) {
        if (store === undefined || !isMeshwrightError(error, 'CA_CHAIN_MISSING')) throw error;
        await installFirst({ ...flags, store }, chain);
      }
    });
}

async function installFirst(flags: StoreFlags, chain: IssuedChain): Promise<void> {
  const store = fileStore({ directory: flags.store, key: storeKey(flags) });
  const audit = () => fileAuditLog({ file: auditFile(flags.store) });
  await using ca = await SpiffeCA.installSubordinate({ store, audit, ...chain });
  const { notAfter } = ca.externalRoot.status;
  print(flags, { trustDomain: ca.trustDomain.name, rootPin: ca.rootPin, notAfter, store: flags.store });
}

function printRequest({ out, json }: OutFlags, { csrPem }: { readonly csrPem: string }): void {
  if (out !== undefined) writeFileSync(out, csrPem);
  if (json === true) print({ json }, out === undefined ? { csrPem } : { out });
  else if (out === undefined) process.stdout.write(csrPem);
}
