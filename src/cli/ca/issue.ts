/** `meshwright ca init | issue`: always on the CA itself. */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { caKeyTypes } from '../../ca/index.js';
import type { CaKeyType } from '../../ca/index.js';
import { createCa, duration, operator, withCa, withStore } from './open-ca.js';
import { beginSubordinate } from './subordinate.js';
import { print } from '../print.js';
import type { StoreFlags } from './open-ca.js';

interface InitFlags extends StoreFlags {
  readonly trustDomain: string;
  readonly rootTtl: number;
  readonly keyType: CaKeyType;
  readonly subordinate?: true;
  readonly out?: string;
}

export function initCommand(): Command {
  return withStore(new Command('init'))
    .description('make a new CA, or begin one under an external root; never overwrites one')
    .requiredOption('--trust-domain <name>', 'such as cluster.local')
    .option('--root-ttl <duration>', 'lifetime of the root', duration, duration('3650d'))
    .addOption(new Option('--key-type <type>', 'kind of the root key').choices([...caKeyTypes]).default('P-256'))
    .option('--subordinate', 'have an external root sign it: prints the request for that; then "install"')
    .option('--out <file>', 'write the request there instead of to standard output')
    .action(async (flags: InitFlags) => {
      const { trustDomain, rootTtl: rootTtlMs, keyType } = flags;
      if (flags.subordinate === true) return beginSubordinate(flags, { trustDomain, keyType });
      if (flags.out !== undefined) throw new Error('--out is for the request of --subordinate');
      const ca = await createCa(flags, { trustDomain, rootTtlMs, keyType });
      await ca.close();
      print(flags, { trustDomain, rootPin: ca.rootPin, store: flags.store });
    });
}

interface IssueFlags extends StoreFlags {
  readonly csr?: string;
  readonly ttl?: number;
  readonly out?: string;
  readonly keyOut?: string;
}

export function issueCommand(): Command {
  return withStore(new Command('issue'))
    .description('issue an X.509-SVID, for a CSR or with a new key')
    .argument('<spiffe-id>', 'such as spiffe://cluster.local/ns/shop/sa/web')
    .option('--csr <file>', 'certificate signing request (PEM or DER); only its public key counts')
    .option('--key-out <file>', 'make a new P-256 key and write it there (0600); the file must not exist')
    .option('--out <file>', 'write the certificate chain there instead of to standard output')
    .option('--ttl <duration>', 'lifetime, such as 24h', duration)
    .action(async (spiffeId: string, flags: IssueFlags) => {
      if ((flags.csr === undefined) === (flags.keyOut === undefined)) {
        throw new Error('expected exactly one of --csr and --key-out');
      }
      const fresh = flags.keyOut === undefined ? undefined : generateKeyPairSync('ec', { namedCurve: 'P-256' });
      // Before anything is issued, so that no certificate is made whose key is lost.
      if (fresh !== undefined && flags.keyOut !== undefined) {
        const pem = fresh.privateKey.export({ format: 'pem', type: 'pkcs8' });
        writeFileSync(flags.keyOut, pem, { mode: 0o600, flag: 'wx' });
      }
      const issued = await withCa(flags, async (ca) => {
        const key = flags.csr === undefined ? { publicKey: fresh?.publicKey } : { csr: readCsr(flags.csr) };
        return ca.issueX509Svid({ spiffeId, ...key, ttlMs: flags.ttl, requester: operator() });
      });
      if (flags.out !== undefined) writeFileSync(flags.out, issued.chainPem);
      else if (flags.json !== true) process.stdout.write(issued.chainPem);
      if (flags.out !== undefined || flags.json === true) {
        const { serialNumber, notBefore, notAfter, chainPem } = issued;
        const chain = flags.out === undefined ? { chainPem } : {};
        print(flags, { spiffeId: issued.spiffeId.toString(), serialNumber, notBefore, notAfter, ...chain });
      }
    });
}

/** PEM as text, anything else as DER. */
function readCsr(file: string): string | Uint8Array {
  const bytes = readFileSync(file);
  const text = bytes.toString('latin1');
  return text.includes('-----BEGIN') ? text : bytes;
}
