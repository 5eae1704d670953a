/** `meshwright svid show | verify FILE`: X.509-SVIDs in PEM. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { systemClock } from '../../core/index.js';
import { keyTypeName } from '../../ca/index.js';
import { SpiffeError, TrustBundle, keyThumbprint, verifyX509Svid } from '../../spiffe/index.js';
import { readPem } from '../../internal/der/pem.js';
import { print } from '../print.js';
import { exitStatus } from '../exit-status.js';

interface VerifyFlags {
  readonly bundle: string;
  readonly trustDomain: string;
  readonly json?: true;
}

export function svidCommand(): Command {
  const show = new Command('show')
    .description('what a certificate says; does not verify it')
    .argument('<file>', 'PEM, leaf first')
    .option('--json', 'print one JSON object')
    .action((file: string, flags: { readonly json?: true }) => {
      const [leaf, ...others] = chainOf(file).map((der) => new X509Certificate(der));
      if (leaf === undefined) throw new Error(`expected a certificate in ${file}, found none`);
      print(flags, {
        names: leaf.subjectAltName,
        serialNumber: leaf.serialNumber.toLowerCase().replace(/^(00)+(?=..)/, ''),
        notBefore: new Date(leaf.validFrom),
        notAfter: new Date(leaf.validTo),
        issuer: leaf.issuer,
        keyType: keyTypeName(leaf.publicKey) ?? leaf.publicKey.asymmetricKeyType,
        keyThumbprint: keyThumbprint(leaf.publicKey),
        intermediates: others.length,
      });
    });
  const verify = new Command('verify')
    .description('verify a certificate against a trust bundle, now; exit status 1 when it is refused')
    .argument('<file>', 'PEM, leaf first')
    .requiredOption('--bundle <file>', 'SPIFFE bundle, as `meshwright ca bundle` prints it')
    .requiredOption('--trust-domain <name>', 'whose bundle it is: the format does not say')
    .option('--json', 'print one JSON object')
    .action((file: string, flags: VerifyFlags) => {
      const bundle = TrustBundle.parse(readFileSync(flags.bundle, 'utf8'), flags.trustDomain);
      try {
        const verified = verifyX509Svid({ certificates: chainOf(file), bundle, now: systemClock.now() });
        const { spiffeId, serialNumber, notAfter } = verified;
        print(flags, { ok: true, spiffeId: spiffeId.toString(), serialNumber, notAfter });
      } catch (error) {
        if (!(error instanceof SpiffeError)) throw error;
        print(flags, { ok: false, code: error.code, problem: error.message });
        process.exitCode = exitStatus.negative;
      }
    });
  return new Command('svid').description('look at and verify X.509-SVIDs').addCommand(show).addCommand(verify);
}

const chainOf = (file: string): readonly Uint8Array[] => readPem(readFileSync(file, 'utf8'), 'CERTIFICATE');
