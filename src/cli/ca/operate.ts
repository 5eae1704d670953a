/** `meshwright ca show | bundle | rotate | deny | token`: on a CA in its store, or through the controller that has it open. */
import { Argument, Command, Option } from 'commander';
import { caKeyTypes, denialKinds } from '../../ca/index.js';
import type { CaKeyType, DenialKind } from '../../ca/index.js';
import { exitStatus } from '../exit-status.js';
import { print } from '../print.js';
import { callCa, duration, withCaOptions } from './open-ca.js';
import type { CaFlags } from './open-ca.js';

type Answer = Readonly<Record<string, unknown>>;

export function showCommand(): Command {
  return withCaOptions(new Command('show'))
    .description('what the CA is, and where its rotations are')
    .action(async (flags: CaFlags) => print(flags, (await callCa(flags, 'ca-show')) as Answer));
}

interface BundleFlags extends CaFlags {
  readonly pem?: true;
}

export function bundleCommand(): Command {
  return withCaOptions(new Command('bundle'))
    .description('print the trust bundle in the SPIFFE bundle format')
    .option('--pem', 'only the root certificates, as PEM')
    .action(async (flags: BundleFlags) => {
      const { bundle, x509AuthoritiesPem } = (await callCa(flags, 'ca-bundle')) as {
        readonly bundle: unknown;
        readonly x509AuthoritiesPem: readonly string[];
      };
      if (flags.pem === true) process.stdout.write(x509AuthoritiesPem.join(''));
      else console.log(JSON.stringify(bundle, undefined, 2));
    });
}

interface RotateFlags extends CaFlags {
  readonly of: string;
  readonly force?: true;
  readonly reason?: string;
  readonly keyType?: CaKeyType;
  readonly rootTtl?: number;
}

const rotateHelp = `
Steps, in this order:
  prepare    publish a new key beside the old one
  activate   sign with the new key, once everybody has seen it published
  retire     stop trusting the old key, once nothing it signed is valid
  cancel     withdraw a prepared key
A step that would cut off something valid is refused and says until when; --force takes it all the same.`;

export function rotateCommand(): Command {
  return withCaOptions(new Command('rotate'))
    .description('replace a signing key, step by step')
    .addArgument(new Argument('<step>', 'what to do').choices(['status', 'prepare', 'activate', 'retire', 'cancel']))
    .addOption(new Option('--of <key>', 'which key').choices(['root', 'token-key', 'jwt-key']).default('root'))
    .option('--force', 'do not wait: the old key is compromised')
    .option('--reason <text>', 'why, for the audit log')
    .addOption(new Option('--key-type <type>', 'of a new root (default: P-256)').choices([...caKeyTypes]))
    .option('--root-ttl <duration>', 'lifetime of a new root (default: 3650d)', duration)
    .addHelpText('after', rotateHelp)
    .action(async (step: string, flags: RotateFlags) => {
      const { of: key, force, reason, keyType, rootTtl: ttlMs } = flags;
      const request = { key, step, force, reason, keyType, ttlMs };
      print(flags, (await callCa(flags, 'ca-rotate', request)) as Answer);
    });
}

interface DenyFlags extends CaFlags {
  readonly remove?: true;
  readonly reason?: string;
  readonly ttl?: number;
}

export function denyCommand(): Command {
  return withCaOptions(new Command('deny'))
    .description('put a certificate, an identity or a node on the deny list')
    .addArgument(new Argument('<kind>', 'what the value is').choices([...denialKinds]))
    .argument('<value>', 'serial number (hexadecimal), SPIFFE ID or node name')
    .option('--remove', 'take it off instead; exit status 1 when it is not there')
    .option('--ttl <duration>', 'how long it stays (default: until it is removed)', duration)
    .option('--reason <text>', 'why, for the audit log')
    .action(async (kind: DenialKind, value: string, flags: DenyFlags) => {
      const { remove, reason, ttl: ttlMs } = flags;
      const answer = (await callCa(flags, 'ca-deny', { kind, value, remove, reason, ttlMs })) as Answer;
      print(flags, answer);
      if (answer['removed'] === false) process.exitCode = exitStatus.negative;
    });
}

interface TokenFlags extends CaFlags {
  readonly ttl?: number;
}

export function tokenCommand(): Command {
  return withCaOptions(new Command('token'))
    .description('make a join token for a node: single use, with the pin of the root')
    .argument('<node>', 'the node that may join with it')
    .option('--ttl <duration>', 'lifetime (default: 1h)', duration)
    .action(async (node: string, flags: TokenFlags) => {
      print(flags, (await callCa(flags, 'ca-token', { node, ttlMs: flags.ttl })) as Answer);
    });
}
