import fc from 'fast-check';
import { stringify } from 'yaml';
import { describe, expect, it } from 'vitest';
import { contentHash } from '../../src/snapshot/index.js';
import { MeshIndex, meshStateSchema } from '../../src/mesh/index.js';
import { formatProblem, parseManifests, toMeshState } from '../../src/kubernetes/index.js';
import type { ParsedManifests } from '../../src/kubernetes/index.js';
import { nodes, pod, policy, service } from './manifests.js';

const parse = (text: string): ParsedManifests => parseManifests(text, { file: 'f.yaml' });

describe('parseManifests', () => {
  it('reads documents, lists and JSON, with their lines', () => {
    const text = `# a comment
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
    - port: 80
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Node
    metadata: { name: node-a }
  - apiVersion: v1
    kind: Pod
    metadata: { name: web-0, namespace: shop }
---
---
{ "apiVersion": "v1", "kind": "PodList", "items": [{ "metadata": { "name": "web-1" } }] }
`;
    const { objects, problems, broken } = parse(text);
    expect(problems).toEqual([]);
    expect(broken).toEqual([]);
    expect(objects.map((each) => [each.kind, each.namespace, each.name, each.source.line])).toEqual([
      ['Service', 'default', 'web', 2],
      ['Node', '', 'node-a', 13],
      ['Pod', 'shop', 'web-0', 16],
      ['Pod', 'default', 'web-1', 21],
    ]);
    expect(objects[0]?.source.lineOf(['spec', 'ports', 0, 'port'])).toBe(8);
    expect(objects[2]?.source.lineOf(['metadata', 'name'])).toBe(18);
    expect(objects[0]?.source.lineOf(['spec', 'ports', 7, 'missing'])).toBe(7);
  });

  it('names file, line, field, what was expected, what was there and what to do', () => {
    const { problems, objects } = parse(`apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  clusterIP: 10.96.0.256
  ports:
    - port: "80"
    - name: x
`);
    expect(objects).toEqual([]);
    expect(problems.map(formatProblem)).toEqual([
      'f.yaml:6: Service default/web: spec.clusterIP: expected an IP address, "None" or nothing, got "10.96.0.256"; correct spec.clusterIP',
      'f.yaml:8: Service default/web: spec.ports[0].port: expected a whole number, got "80"; correct spec.ports[0].port',
      'f.yaml:9: Service default/web: spec.ports[1].port: expected a value, got nothing; add spec.ports[1].port',
    ]);
  });

  it.each([
    ['a duplicate key', 'kind: Pod\nkind: Service\n', 2],
    ['a tag it does not know', 'a: 1\nb: !!python/object x\n', 2],
    ['an open bracket', 'a: [1\n', 2],
    ['a bad indentation', 'a:\n  b: 1\n c: 2\n', 3],
    ['a number without end', 'a: .inf\n', 1],
    ['an unresolved alias', 'a: *b\n', 1],
    ['nesting without bound', '['.repeat(200_000), 1],
    ['lists nested without bound', '- '.repeat(200_000), 1],
    ['keys nested without bound', '? '.repeat(200_000), 1],
    ['deep nesting', `${'['.repeat(100)}${']'.repeat(100)}`, 1],
    ['a NUL', 'a: "\u0000\n', 2],
    ['keys that are no text', '? [a]\n: 1\n', 1],
  ])('refuses %s', (_what, text, line) => {
    const { objects, problems, broken } = parse(text);
    expect(objects).toEqual([]);
    expect(broken).toMatchObject([{ parsed: false }]);
    expect(problems[0]).toMatchObject({ severity: 'error', file: 'f.yaml', object: 'document 1' });
    expect(Math.abs((problems[0]?.line ?? 0) - line)).toBeLessThanOrEqual(1);
  });

  it('refuses aliases that expand without bound, in no time', () => {
    let text = 'a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n';
    for (let level = 1; level < 9; level += 1) {
      text += `a${String(level)}: &a${String(level)} [${Array(10)
        .fill(`*a${String(level - 1)}`)
        .join(',')}]\n`;
    }
    const start = performance.now();
    expect(parse(text).broken).toHaveLength(1);
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it('takes nesting that a manifest may well have', () => {
    const deep = Array.from({ length: 55 }, (_, level) => `${' '.repeat(level)}a:\n`).join('');
    const text = `apiVersion: v1\nkind: Pod\nmetadata: { name: x }\nspec:\n${deep.replaceAll(/^/gm, ' ')}`;
    expect(parse(text).problems).toEqual([]);
  });

  it('takes a few anchors and merge keys', () => {
    const { objects } = parse(`apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: &labels { app: web }
  annotations:
    <<: *labels
    more: "1"
`);
    expect(objects[0]?.manifest['metadata']).toMatchObject({ annotations: { app: 'web', more: '1' } });
  });

  it.each([
    ['no kind', '{ apiVersion: v1, metadata: { name: x } }', 'kind'],
    ['no apiVersion', '{ kind: Pod, metadata: { name: x } }', 'apiVersion'],
    ['a version of a group it knows', '{ apiVersion: novaedge.io/v1, kind: ProxyPolicy }', 'apiVersion'],
    ['its own kind in another group', '{ apiVersion: novaedg.io/v1alpha1, kind: ProxyPolicy }', 'apiVersion'],
    ['no metadata', '{ apiVersion: v1, kind: Pod }', 'metadata'],
    ['no name', '{ apiVersion: v1, kind: Pod, metadata: {} }', 'metadata.name'],
    ['a name that is none', '{ apiVersion: v1, kind: Pod, metadata: { name: A_b } }', 'metadata.name'],
    [
      'a value where text is needed',
      '{ apiVersion: v1, kind: Pod, metadata: { name: a, labels: { x: true } } }',
      'metadata.labels.x',
    ],
    ['a list', '[1]', ''],
    ['a word', 'hello', ''],
  ])('reports %s', (_what, text, field) => {
    const { objects, problems, broken } = parse(text);
    expect(objects).toEqual([]);
    expect(broken).toHaveLength(1);
    expect(problems).toMatchObject([{ severity: 'error', field, line: 1 }]);
  });

  it('notes kinds that it does not read, and leaves them alone', () => {
    const text = '{ apiVersion: serving.knative.dev/v1, kind: Service, metadata: { name: x } }';
    expect(parse(text)).toMatchObject({
      objects: [],
      broken: [],
      problems: [{ severity: 'info', got: 'serving.knative.dev/v1 Service' }],
    });
    expect(parse('{ apiVersion: v1, kind: ConfigMap, metadata: { name: x } }').problems).toMatchObject([
      { severity: 'info' },
    ]);
  });

  it('counts null as absent', () => {
    const text =
      '{ apiVersion: v1, kind: Pod, metadata: { name: a, labels: null, creationTimestamp: null }, status: null }';
    expect(parse(text).objects).toHaveLength(1);
  });

  it('refuses a text beyond its limit', () => {
    const { broken, problems } = parseManifests('a'.repeat(100), { file: 'f', maxLength: 10 });
    expect(broken).toHaveLength(1);
    expect(problems).toHaveLength(1);
  });

  it('does not let a key reach a prototype', () => {
    const { objects } = parse(
      '{ apiVersion: v1, kind: Pod, metadata: { name: a, labels: { __proto__: x, constructor: y } } }',
    );
    expect(Object.keys((objects[0]?.manifest['metadata'] as { labels: object }).labels)).toEqual([
      '__proto__',
      'constructor',
    ]);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});

describe('under arbitrary input', () => {
  /** Whatever comes in: no exception, every problem complete, and a state that an agent would take. */
  function survives(text: string): void {
    const { objects, broken, problems } = parse(text);
    const mapped = toMeshState(objects, { trustDomain: 'cluster.local', broken });
    MeshIndex.build(meshStateSchema.parse(mapped.state), 'node-a');
    contentHash(mapped.state);
    const lines = text.split('\n').length + 1;
    for (const problem of [...problems, ...mapped.problems]) {
      expect(problem.line).toBeGreaterThanOrEqual(1);
      expect(problem.line).toBeLessThanOrEqual(lines);
      expect(formatProblem(problem)).not.toContain('undefined');
    }
    if (broken.length > 0) expect(problems.some((problem) => problem.severity === 'error')).toBe(true);
  }

  const seedText =
    nodes +
    pod('web', '10.1.0.1', { labels: { app: 'web' } }) +
    service('web', { clusterIP: '10.96.0.1', selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }] }) +
    policy('p', 'web');

  it('survives random text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), survives), { numRuns: 300 });
  });

  it('survives random YAML punctuation', () => {
    const token = fc.constantFrom(
      ...'-?:[]{},&*!|>\'"%@`# \n',
      '---\n',
      '  ',
      'kind',
      'Pod',
      'ProxyPolicy',
      '<<',
      '&a',
      '*a',
      'a',
    );
    fc.assert(
      fc.property(
        fc.array(token, { maxLength: 60 }).map((tokens) => tokens.join('')),
        survives,
      ),
      { numRuns: 500 },
    );
  });

  it('survives manifests with pieces cut out, doubled or replaced', () => {
    const edit = fc.record({
      at: fc.nat(seedText.length),
      length: fc.nat(40),
      put: fc.constantFrom('', '{', '}', '"', 'null', '-1', '[]', '\n', 'true', '::', '\u0000'),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        survives(
          edits.reduce((text, { at, length, put }) => text.slice(0, at) + put + text.slice(at + length), seedText),
        );
      }),
      // A colon in a name.
      { numRuns: 300, examples: [[[{ at: 722, length: 0, put: '::' }]]] },
    );
  });

  it('survives known kinds with any fields at all', () => {
    const kind = fc.constantFrom(
      ['v1', 'Node'],
      ['v1', 'Pod'],
      ['v1', 'Service'],
      ['v1', 'Endpoints'],
      ['apps/v1', 'Deployment'],
      ['apps/v1', 'ReplicaSet'],
      ['discovery.k8s.io/v1', 'EndpointSlice'],
      ['novaedge.io/v1alpha1', 'ProxyPolicy'],
      ['security.istio.io/v1', 'AuthorizationPolicy'],
      ['security.istio.io/v1', 'PeerAuthentication'],
    );
    const name = fc.constantFrom(
      'metadata',
      'spec',
      'status',
      'ports',
      'port',
      'addresses',
      'podIP',
      'selector',
      'matchLabels',
      'targetRef',
      'name',
      'type',
      'mtls',
      'mode',
      'endpoints',
      'template',
      'annotations',
      'podIPs',
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 5 },
        fc.constantFrom<unknown>('a', '10.0.0.1', 80, true, null, 'MeshAuthorization', 'STRICT', ''),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(name, tie('value'), { maxKeys: 4 }),
      ),
    }));
    const object = fc
      .tuple(kind, fc.dictionary(name, value, { maxKeys: 4 }), fc.boolean())
      .map(([[apiVersion, kindName], fields, named]) => ({
        ...fields,
        ...(named ? { metadata: { name: 'a' } } : {}),
        apiVersion,
        kind: kindName,
      }));
    fc.assert(
      fc.property(fc.array(object, { maxLength: 4 }), (objects) =>
        survives(objects.map((each) => stringify(each)).join('---\n')),
      ),
      { numRuns: 500 },
    );
  });

  it('gives the same state whatever the order of the objects', () => {
    const texts = seedText.split('---\n').filter((text) => text.trim() !== '');
    const expected = contentHash(stateOf(texts));
    fc.assert(
      fc.property(fc.shuffledSubarray(texts, { minLength: texts.length }), (order) => {
        expect(contentHash(stateOf(order))).toBe(expected);
      }),
    );
  });

  function stateOf(texts: readonly string[]): unknown {
    const objects = texts.flatMap((text) => parseManifests(text, { file: 'f' }).objects);
    const { state } = toMeshState(objects, { trustDomain: 'cluster.local' });
    return { ...state, policies: state.policies.map(({ manifest }) => manifest) };
  }
});
