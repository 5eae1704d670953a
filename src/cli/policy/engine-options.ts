import { Option } from 'commander';
import type { Command } from 'commander';
import type { AuthzOptions } from '../../authz/index.js';

interface Flags {
  readonly trustDomain: string;
  readonly trustDomainAlias?: readonly string[];
  readonly defaultAction: 'allow' | 'deny';
  readonly rootNamespace: string;
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
    .option('--root-namespace <name>', 'namespace of mesh-wide policies', 'istio-system');
}

export function engineOptions(flags: Flags): AuthzOptions {
  return {
    trustDomain: flags.trustDomain,
    trustDomainAliases: flags.trustDomainAlias ?? [],
    defaultAction: flags.defaultAction,
    rootNamespace: flags.rootNamespace,
  };
}

export type EngineFlags = Flags;
