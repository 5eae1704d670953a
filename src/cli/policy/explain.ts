/** `meshwright policy explain DIR`: one request, the decision, and why. */
import { Command, Option } from 'commander';
import { readRequest } from '../../authz/index.js';
import type { Explanation, TestMesh, AuthzEngine } from '../../authz/index.js';
import { exitStatus } from '../exit-status.js';
import { engineOptions, withEngineOptions } from './engine-options.js';
import type { EngineFlags } from './engine-options.js';
import { readPolicies } from './files.js';
import { lintedEngine } from './linted-engine.js';

interface ExplainFlags extends EngineFlags {
  readonly from?: string;
  readonly node?: string;
  readonly to: string;
  readonly port?: string;
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly header?: readonly string[];
  readonly label?: readonly string[];
  readonly ip?: string;
  readonly json?: true;
}

export function explainCommand(): Command {
  return withEngineOptions(new Command('explain'))
    .description('decide one request and say why')
    .argument('<path...>', 'files or directories with policy manifests')
    .option('--from <source>', 'SPIFFE ID or namespace/service-account; none: plaintext')
    .option('--node <name>', "name of the source's node")
    .requiredOption('--to <service>', 'destination as namespace/service')
    .option('--port <port>', 'destination port')
    .option('--method <method>', 'HTTP method; without method and path the stream is opaque')
    .option('--path <path>', 'HTTP path')
    .option('--host <host>', 'HTTP host')
    .option('--header <name=value...>', 'HTTP headers')
    .option('--label <name=value...>', "labels of the destination's pods")
    .option('--ip <address>', 'source address')
    .addOption(new Option('--json', 'print one JSON object'))
    .action((paths: readonly string[], flags: ExplainFlags) => {
      const options = engineOptions(flags);
      const engine: AuthzEngine = lintedEngine(readPolicies(paths), options);
      const mesh: TestMesh = {
        options,
        trustDomain: flags.trustDomain,
        workloads: {},
        services: { [flags.to]: { labels: pairs(flags.label) } },
      };
      const { from, node, to, method, path, host, ip } = flags;
      const given = Object.fromEntries(
        Object.entries({
          from,
          node,
          to,
          method,
          path,
          host,
          ip,
          port: flags.port === undefined ? undefined : Number(flags.port),
          headers: pairs(flags.header),
        }).filter(([, value]) => value !== undefined),
      );
      const { request } = readRequest(given, 'request', mesh);
      const explanation = engine.explain(request);
      const connection = engine.authorizeConnection(request);
      console.log(
        flags.json === true
          ? JSON.stringify({ ...explanation, connection: connection.verdict }, undefined, 2)
          : formatExplanation(explanation),
      );
      if (!explanation.decision.allowed) process.exitCode = exitStatus.negative;
    });
}

function pairs(texts: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new Error(`expected name=value, got ${JSON.stringify(text)}`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** The explanation as indented text. */
export function formatExplanation({ decision, considered, nearestMiss }: Explanation): string {
  const lines = [`${decision.action.toUpperCase()}: ${decision.reason}`];
  for (const policy of considered) {
    const { tier, grant, dryRun } = policy;
    const notes = [
      ...(dryRun ? ['not enforced'] : []),
      ...(tier === undefined ? [] : [`tier ${String(tier)}`]),
      ...(grant === undefined ? [] : [`until ${grant.notAfter}, ${grant.owner}: ${grant.reason}`]),
    ];
    lines.push(
      `  ${policy.action} ${policy.policy}${notes.length === 0 ? '' : ` (${notes.join('; ')})`}: ${policy.matched ? 'matched' : 'no rule matched'}`,
    );
    for (const rule of policy.rules) {
      if (rule.matched)
        lines.push(
          `    rule ${String(rule.rule)} matched${rule.httpMissing ? ' (its HTTP terms count as matched: the stream is opaque)' : ''}`,
        );
      for (const { path, expected, got } of rule.failed) {
        lines.push(
          `    rule ${String(rule.rule)} failed on ${path}: wants ${expected.join(' or ')}, got ${got ?? 'nothing'}`,
        );
      }
    }
  }
  if (nearestMiss !== undefined) {
    const fields = nearestMiss.failed.map((each) => each.field).join(' and ');
    lines.push(`  nearest miss: ${nearestMiss.policy} rule ${String(nearestMiss.rule)} failed only on ${fields}`);
  }
  return lines.join('\n');
}
