/** `meshwright ca rotate | deny`. */
import { userInfo } from 'node:os';
import { Argument, Command, Option } from 'commander';
import { caKeyTypes, denialKinds } from '../../ca/index.js';
import type { CaKeyType, DenialKind, SpiffeCA } from '../../ca/index.js';
import { duration, withCa, withStore } from './open-ca.js';
import { print } from '../print.js';
import type { StoreFlags } from './open-ca.js';
import { exitStatus } from '../exit-status.js';

const rotations = {
  root: (ca: SpiffeCA) => ca.rootRotation,
  'token-key': (ca: SpiffeCA) => ca.tokenKeyRotation,
  'jwt-key': (ca: SpiffeCA) => ca.jwtKeyRotation,
} as const;
const steps = ['status', 'prepare', 'activate', 'retire', 'cancel'] as const;

interface RotateFlags extends StoreFlags {
  readonly of: keyof typeof rotations;
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
  return withStore(new Command('rotate'))
    .description('replace a signing key, step by step')
    .addArgument(new Argument('<step>', 'what to do').choices([...steps]))
    .addOption(new Option('--of <key>', 'which key').choices(Object.keys(rotations)).default('root'))
    .option('--force', 'do not wait: the old key is compromised')
    .option('--reason <text>', 'why, for the audit log')
    .addOption(new Option('--key-type <type>', 'of a new root (default: P-256)').choices([...caKeyTypes]))
    .option('--root-ttl <duration>', 'lifetime of a new root (default: 3650d)', duration)
    .addHelpText('after', rotateHelp)
    .action(async (step: (typeof steps)[number], flags: RotateFlags) => {
      const { force, reason, keyType, rootTtl: ttlMs } = flags;
      const status = await withCa(flags, async (ca) => {
        const rotation = rotations[flags.of](ca);
        if (step === 'status') return rotation.status;
        if (step === 'prepare') return rotation.prepare({ by: operator(), reason, keyType, ttlMs });
        return rotation[step]({ by: operator(), reason, force });
      });
      print(flags, { ...status });
    });
}

interface DenyFlags extends StoreFlags {
  readonly remove?: true;
  readonly reason?: string;
  readonly ttl?: number;
}

export function denyCommand(): Command {
  return withStore(new Command('deny'))
    .description('put a certificate, an identity or a node on the deny list')
    .addArgument(new Argument('<kind>', 'what the value is').choices([...denialKinds]))
    .argument('<value>', 'serial number (hexadecimal), SPIFFE ID or node name')
    .option('--remove', 'take it off instead; exit status 1 when it is not there')
    .option('--ttl <duration>', 'how long it stays (default: until it is removed)', duration)
    .option('--reason <text>', 'why, for the audit log')
    .action(async (kind: DenialKind, value: string, flags: DenyFlags) => {
      const { reason, ttl: ttlMs } = flags;
      const by = operator();
      if (flags.remove === true) {
        const removed = await withCa(flags, (ca) => ca.denyList.allow({ kind, value, reason, by }));
        print(flags, { removed });
        if (!removed) process.exitCode = exitStatus.negative;
        return;
      }
      print(flags, { ...(await withCa(flags, (ca) => ca.denyList.deny({ kind, value, reason, ttlMs, by }))) });
    });
}

function operator(): string {
  return `operator ${userInfo().username}`;
}
