/**
 * A long search for a request on which the engine and the naive evaluator differ.
 *
 *   npx tsx test/authz/naive/soak.ts [pairs, default 1,000,000] [seed, default random]
 *
 * Prints how many pairs were tried and what became of them; the first difference ends it with the seed, made as small
 * as it can be, and exit status 1.
 */
import fc from 'fast-check';
import { AuthzEngine } from '../../../src/authz/index.js';
import { options, policies, request } from './arbitraries.js';
import { naiveAllowed } from './evaluator.js';

const requestsPerSet = 40;
const setsPerChunk = 500;
const wanted = Number(process.argv[2] ?? '1000000');
const firstSeed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
if (!(wanted > 0) || !Number.isInteger(firstSeed)) throw new Error('usage: soak.ts [pairs] [seed]');

const outcomes = new Map<string, number>();
let pairs = 0;
const count = (outcome: string): void => {
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
};

const property = fc.property(
  policies,
  fc.noShrink(fc.array(request, { minLength: requestsPerSet, maxLength: requestsPerSet })),
  options,
  (manifests, asked, chosen) => {
    const engine = AuthzEngine.compile(manifests, chosen);
    for (const each of asked) {
      const decision = engine.authorize(each);
      if (decision.allowed !== naiveAllowed(manifests, each, chosen))
        throw new Error(`engine ${JSON.stringify(decision)}: ${JSON.stringify(each)} with ${JSON.stringify(chosen)}`);
      const { http: _http, jwt: _jwt, custom: _custom, ...connection } = each;
      const { verdict } = engine.authorizeConnection(connection);
      if (verdict !== 'needs-http' && decision.action !== verdict)
        throw new Error(`connection ${verdict}, request ${JSON.stringify(decision)}: ${JSON.stringify(each)}`);
      pairs += 1;
      count(`connection: ${verdict}`);
      const by = decision.policy === undefined ? 'by default' : decision.rule === undefined ? 'plaintext' : 'by a rule';
      count(`${each.http === undefined ? 'stream' : 'request'}: ${decision.action} ${by}`);
      if (decision.reason.includes('provider')) count('denied for a provider');
      if (decision.reason.startsWith('no policy applies')) count('no ALLOW policy applies');
      if (decision.dryRun !== undefined) count('with a dry run');
      if (decision.audited !== undefined) count('audited');
    }
  },
);

function report(): void {
  process.stdout.write(`${String(pairs)} pairs, first seed ${String(firstSeed)}\n`);
  for (const [outcome, number] of [...outcomes].sort())
    process.stdout.write(`  ${((100 * number) / pairs).toFixed(1).padStart(5)} %  ${outcome}\n`);
}

for (let chunk = 0; pairs < wanted; chunk += 1) {
  const result = fc.check(property, { seed: firstSeed + chunk, numRuns: setsPerChunk });
  if (result.failed) {
    process.stdout.write(`${fc.defaultReportMessage(result) ?? ''}\n`);
    process.exitCode = 1;
    break;
  }
  if (chunk % 10 === 9) report();
}
report();
