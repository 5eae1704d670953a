import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { parseInstant } from '../../authz/index.js';
import type { AuthzOptions } from '../../authz/index.js';
import { systemClock } from '../../core/index.js';

interface Flags {
  readonly trustDomain: string;
  readonly trustDomainAlias?: readonly string[];
  readonly defaultAction: 'allow' | 'deny';
  readonly rootNamespace: string;
  readonly dialect?: readonly string[];
  readonly at?: number;
}

function instant(text: string): number {
  const nowMs = parseInstant(text);
  if (nowMs === undefined) throw new InvalidArgumentError('expected an instant such as 2027-01-31T18:00:00Z');
  return nowMs;
}

/** Adds the options of the engine that every policy command takes. */
export function withEngineOptions(command: Command): Command {
  return command
    .option('--trust-domain <name>', "the mesh's trust domain", 'cluster.local')
    .option('--trust-domain-alias <name...>', 'other names of the trust domain')
    .addOption(
      new Option('--default-action <action>', 'where no ALLOW policy applies')
        .choices(['allow', 'deny'])
        .default('allow'),
    )
    .option('--root-namespace <name>', 'namespace of mesh-wide policies', 'istio-system')
    .addOption(
      new Option('--dialect <name...>', 'also read tiers, audit mode and grants that end').choices(['meshwright']),
    )
    .option('--at <instant>', 'as of then instead of now, for grants that end', instant);
}

export function engineOptions(flags: Flags): AuthzOptions {
  const { at } = flags;
  return {
    trustDomain: flags.trustDomain,
    trustDomainAliases: flags.trustDomainAlias ?? [],
    defaultAction: flags.defaultAction,
    rootNamespace: flags.rootNamespace,
    dialects: { meshwright: flags.dialect?.includes('meshwright') === true },
    ...(at === undefined ? {} : { clock: { ...systemClock, now: () => at } }),
  };
}

export type EngineFlags = Flags;
