/** docs/policy-problems.md has every code, and its examples have the problem they are about, or none. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { AuthzEngine, lintPolicies, readTestMesh } from '../../src/authz/index.js';
import type { AuthzOptions, PolicyProblem } from '../../src/authz/index.js';
import { factsOfMesh } from '../../src/cli/policy/mesh-facts.js';
import { systemClock } from '../../src/core/index.js';

const page = readFileSync('docs/policy-problems.md', 'utf8');
const sections = [
  ...page.matchAll(
    /^### `(?<code>[a-z-]+)` \((?<severity>error|warning|error or warning)\)\n(?:(?!^#)[^])*?^```yaml (?<kind>[a-z ]+)\n(?<text>[^]*?)^```$/gm,
  ),
].map(({ groups = {} }) => groups as Readonly<Record<'code' | 'severity' | 'kind' | 'text', string>>);
const facts = factsOfMesh(readTestMesh(parse(/^```yaml facts\n([^]*?)^```$/m.exec(page)?.[1] ?? '')));

type Json = Readonly<Record<string, unknown>>;
const kinds: Readonly<Record<string, string>> = {
  mesh: 'ProxyPolicy',
  istio: 'AuthorizationPolicy',
  peer: 'PeerAuthentication',
  jwt: 'RequestAuthentication',
};

/** What an example stands for; `bad` and `good` are the two documents of its block. */
function manifestsOf(form: string, document: unknown): readonly unknown[] {
  if (form === 'manifest') return [document];
  if (form === 'manifests') return document as readonly unknown[];
  const native = form === 'mesh';
  const spec = document as Json;
  return [
    {
      apiVersion: native ? 'novaedge.io/v1alpha1' : 'security.istio.io/v1',
      kind: kinds[form],
      metadata: { name: 'example', namespace: 'shop' },
      spec: native ? { type: 'MeshAuthorization', targetRef: { kind: 'Service', name: 'api' }, ...spec } : spec,
    },
  ];
}

function problemsOf(kind: string, document: unknown): readonly PolicyProblem[] {
  const [form = '', ...words] = kind.split(' ');
  const options: AuthzOptions = {
    dialects: { meshwright: !words.includes('plain') },
    clock: { ...systemClock, now: () => Date.parse('2027-01-01T00:00:00Z') },
  };
  const manifests = manifestsOf(form, document);
  return words.includes('lenient')
    ? AuthzEngine.compile(manifests, { ...options, lenient: true }).problems
    : lintPolicies(manifests, options, { ...facts, expiringWithinMs: 14 * 86_400_000 });
}

describe('docs/policy-problems.md', () => {
  it('has every problem code of the sources, and no other', () => {
    const folder = 'src/authz';
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
      .join('\n');
    const used = new Set(
      [
        ...sources.matchAll(
          /(?:(?:report\.(?:error|warning)|never|malformed)\(\s*|code: (?:[^\n:?]*\? )?|\?\? |: )'([a-z]+(?:-[a-z]+)+)'/g,
        ),
      ].map((match) => match[1] ?? ''),
    );
    const codes = [...used].filter((code) => !['needs-http', 'doubtful-value', 'istio-system'].includes(code));
    expect(sections.map(({ code }) => code).sort()).toEqual(codes.sort());
    expect(new Set(sections.map(({ code }) => code)).size).toBe(sections.length);
    expect([...page.matchAll(/^### /gm)]).toHaveLength(sections.length);
  });

  it.each(sections)('$code: the bad example has it, the good one is without problems', (section) => {
    const [bad, good, ...more] = parseAllDocuments(section.text).map((document) => {
      expect(document.errors).toEqual([]);
      return document.toJS() as unknown;
    });
    expect(more).toEqual([]);
    expect(section.text).toMatch(/^# bad\n[^]*^# good\n/m);
    const severities = section.severity === 'error or warning' ? ['error', 'warning'] : [section.severity];
    const found = problemsOf(section.kind, bad);
    const others = found.filter(({ code }) => code !== section.code);
    expect(found.find(({ code }) => code === section.code)).toBeDefined();
    expect(severities).toContain(found.find(({ code }) => code === section.code)?.severity);
    if (!section.kind.includes('lenient')) expect(others).toEqual([]);
    expect(problemsOf(section.kind, good)).toEqual([]);
  });
});
