import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { exitStatus } from '../../src/cli/exit-status.js';
import { policyCommand } from '../../src/cli/policy/index.js';
import { runCli } from '../../src/cli/program.js';

const example = 'examples/policy-ci';
let folder: string;
let output: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'meshwright-policy-'));
  output = [];
  vi.spyOn(console, 'log').mockImplementation((text: unknown) => void output.push(String(text)));
  process.exitCode = undefined;
});

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function run(...args: string[]): Promise<{ status: number; text: string }> {
  process.exitCode = undefined;
  await policyCommand().exitOverride().parseAsync(args, { from: 'user' });
  return { status: typeof process.exitCode === 'number' ? process.exitCode : exitStatus.ok, text: output.join('\n') };
}

function write(name: string, text: string): string {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

const policy = (extra = ''): string => `apiVersion: novaedge.io/v1alpha1
kind: ProxyPolicy
metadata: { name: p, namespace: shop }
spec:
  type: MeshAuthorization
  targetRef: { kind: Service, name: web }
  action: ALLOW
  rules:
    - from:
        - namespaces: [front]
      to:
        - methods: [GET]
          paths:
            - /ok
${extra}`;

describe('meshwright policy test', () => {
  it('the example passes with full coverage', async () => {
    const { status, text } = await run('test', example, '--coverage', '--min-coverage', '100');
    expect(text).toContain('14 tests, 0 failed');
    expect(text).toContain('coverage: 100.0 %');
    expect(status).toBe(exitStatus.ok);
  });

  it('reports a miss with its place, the explanation and a negative exit status', async () => {
    write('p.yaml', policy());
    write(
      'a.test.yaml',
      'tests:\n  - request: { from: front/x, to: shop/web, method: POST, path: /ok }\n    expect: allow\n',
    );
    const { status, text } = await run('test', folder);
    expect(text).toContain('FAIL front/x -> shop/web POST /ok');
    expect(text).toMatch(/a\.test\.yaml:2/);
    expect(text).toContain('failed on spec.rules[0].to[0].methods: wants GET, got POST');
    expect(status).toBe(exitStatus.negative);
  });

  it('`by` names the policy or the rule that must decide', async () => {
    write('p.yaml', policy());
    const test = (by: string): string =>
      `tests:\n  - request: { from: front/x, to: shop/web, method: GET, path: /ok }\n    expect: allow\n    by: ${by}\n`;
    for (const [by, expected] of [
      ['shop/p', 0],
      ['shop/p/0', 0],
      ['shop/p/1', 1],
      ['shop/q', 1],
    ] as const) {
      write('a.test.yaml', test(by));
      expect((await run('test', folder)).status).toBe(expected);
    }
  });

  it('fails below the coverage asked for, and shows what is missing', async () => {
    write('p.yaml', policy());
    write(
      'a.test.yaml',
      'tests:\n  - request: { from: other/x, to: shop/web, method: GET, path: /ok }\n    expect: deny\n',
    );
    const { status, text } = await run('test', folder, '--coverage', '--min-coverage', '1');
    expect(text).toContain('shop/p: no test matches it');
    expect(status).toBe(exitStatus.negative);
  });

  it('writes JUnit and an HTML page marked line by line', async () => {
    const junit = join(folder, 'out/junit.xml');
    const html = join(folder, 'out/coverage.html');
    await run('test', example, '--junit', junit, '--coverage-html', html);
    expect(readFileSync(junit, 'utf8')).toContain('tests="14" failures="0"');
    const page = readFileSync(html, 'utf8');
    expect(page).toContain('<span class="hit">');
    expect(page).not.toContain('class="miss"');
  });

  it('prints JSON', async () => {
    const { text } = await run('test', example, '--json');
    const report = JSON.parse(text) as {
      ok: boolean;
      total: number;
      files: { tests: { decision: { action: string } }[] }[];
    };
    expect(report).toMatchObject({ ok: true, total: 14, failed: 0 });
    expect(report.files[0]?.tests[0]?.decision).toMatchObject({ action: 'allow', policy: 'production/allow-frontend' });
  });

  it.each([
    ['tests: []', 'tests'],
    ['tests: [{ request: { to: shop/web }, expect: maybe }]', 'tests[0].expect'],
    ['tests: [{ request: { to: shop/web }, expects: allow }]', 'tests[0].expects'],
    ['tests: [{ request: { from: nobody, to: shop/web }, expect: allow }]', 'tests[0].request.from'],
    ['tests: [{ request: { to: web }, expect: allow }]', 'tests[0].request.to'],
    [
      'mesh: { workloads: { a: {} } }\ntests: [{ request: { to: shop/web }, expect: allow }]',
      'mesh.workloads.a.namespace',
    ],
  ])('a malformed test file is refused: %s', async (text, path) => {
    write('p.yaml', policy());
    write('a.test.yaml', text);
    await expect(run('test', folder)).rejects.toMatchObject({ code: 'AUTHZ_TEST_MALFORMED', fields: { path } });
  });

  it('a directory without tests, and policies that do not compile, are errors', async () => {
    write('p.yaml', policy());
    await expect(run('test', folder)).rejects.toThrow(/at least one \*\.test\.yaml/);
    write('p.yaml', policy('  rulez: []\n'));
    write('a.test.yaml', 'tests: [{ request: { to: shop/web }, expect: deny }]');
    await expect(run('test', folder)).rejects.toThrow(/p\.yaml:\d+ .*spec\.rulez/);
  });
});

describe('meshwright policy lint', () => {
  it('finds nothing in the example', async () => {
    const { status, text } = await run('lint', `${example}/policies`, '--max-warnings', '0');
    expect(text).toContain('4 policies: 0 errors, 0 warnings');
    expect(status).toBe(exitStatus.ok);
  });

  it('names file and line of the wrong field', async () => {
    const file = write('p.yaml', `---\nkind: ConfigMap\n---\n${policy('            - bad\n')}`);
    const { status, text } = await run('lint', file, '--json');
    const { problems } = JSON.parse(text) as { problems: { line: number; path: string; code: string; file: string }[] };
    expect(problems).toMatchObject([{ code: 'path-malformed', path: 'spec.rules[0].to[0].paths[1]', line: 18 }]);
    expect(problems[0]?.file).toContain('p.yaml');
    expect(status).toBe(exitStatus.negative);
  });

  it('warnings fail only beyond --max-warnings', async () => {
    const rule =
      '    - from:\n        - namespaces: [front]\n      to:\n        - methods: [GET]\n          paths:\n            - /ok\n';
    write('p.yaml', policy(rule));
    expect(await run('lint', folder)).toMatchObject({ status: exitStatus.ok });
    expect(output.join('\n')).toContain('warning [duplicate-rule]');
    expect(await run('lint', folder, '--max-warnings', '0')).toMatchObject({ status: exitStatus.negative });
  });

  it('takes facts of the mesh from a file, or from the manifests beside the policies', async () => {
    write('p.yaml', policy());
    expect((await run('lint', folder)).text).toContain('1 policies: 0 errors, 0 warnings');
    output = [];
    const facts = write(
      'facts/mesh.yaml',
      'mesh:\n  services: { shop/web: { port: 80, protocol: tcp }, shop/x: {} }\n',
    );
    expect((await run('lint', join(folder, 'p.yaml'), '--mesh', facts)).text).toMatch(
      /^warning \[http-on-tcp\] .*p\.yaml:\d+ ProxyPolicy shop\/p spec\.rules\[0\]\.to\[0\]:/m,
    );
    output = [];
    write(
      'services.yaml',
      [
        'kind: Service\nmetadata: { name: other, namespace: shop }\nspec: { ports: [{ port: 80 }] }',
        'kind: Deployment\nmetadata: { name: d, namespace: shop }\nspec: { template: { metadata: { labels: { app: web } } } }',
      ].join('\n---\n'),
    );
    const { text, status } = await run('lint', folder, '--max-warnings', '0');
    expect(text).toMatch(/^warning \[target-unknown\] .*p\.yaml:6 .*shop\/web/m);
    expect(status).toBe(exitStatus.negative);
    output = [];
    write(
      'services.yaml',
      'kind: Service\nmetadata: { name: web, namespace: shop }\nspec: { ports: [{ port: 80, targetPort: 5432, name: tcp-db }] }',
    );
    expect((await run('lint', folder)).text).toContain('ports without HTTP: 5432');
    await expect(run('lint', folder, '--mesh', write('bad.txt', 'services: { web: {} }'))).rejects.toMatchObject({
      code: 'AUTHZ_TEST_MALFORMED',
    });
  });

  it('reads the meshwright dialect when told to, and warns of grants that end soon', async () => {
    write('p.yaml', `${policy()}  notAfter: 2027-01-31T18:00:00Z\n  owner: team-a\n  reason: CHG-1\n`);
    const { text, status } = await run('lint', folder);
    expect(text).toContain('error [dialect-disabled]');
    expect(status).toBe(exitStatus.negative);
    const codesAt = async (at: string, ...more: string[]): Promise<string[]> => {
      output = [];
      const { text: json } = await run('lint', folder, '--dialect', 'meshwright', '--at', at, '--json', ...more);
      return (JSON.parse(json) as { problems: { code: string }[] }).problems.map(({ code }) => code);
    };
    expect(await codesAt('2027-01-20T00:00:00Z')).toEqual([]);
    expect(await codesAt('2027-01-20T00:00:00Z', '--expiring-within', '2w')).toEqual(['grant-ending']);
    expect(await codesAt('2027-01-20T00:00:00Z', '--expiring-within', '48h')).toEqual([]);
    expect(await codesAt('2027-01-31T18:00:00Z', '--expiring-within', '2w')).toEqual(['grant-ended']);
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    for (const wrong of [
      ['--dialect', 'meshWright'],
      ['--expiring-within', '2'],
      ['--at', 'today'],
    ])
      expect(await runCli(['policy', 'lint', folder, ...wrong])).toBe(exitStatus.unable);
  });

  it('says where YAML does not parse', async () => {
    write('p.yaml', 'a: [\n');
    await expect(run('lint', folder)).rejects.toThrow(/p\.yaml:\d+: expected YAML/);
  });
});

describe('the meshwright dialect', () => {
  const more = '  tier: 100\n  notAfter: 2027-01-31T18:00:00Z\n  owner: team-a\n  reason: CHG-1\n';

  it('is read by tests that say so, as of the moment they say', async () => {
    write('p.yaml', `${policy()}${more}`);
    const test = (mesh: string): string =>
      `mesh: { ${mesh} }\ntests:\n  - request: { from: front/x, to: shop/web, path: /ok }\n    expect: allow\n    by: shop/p/0\n`;
    write('a.test.yaml', test("dialects: { meshwright: true }, now: '2027-01-31T17:59:59Z'"));
    expect((await run('test', folder)).status).toBe(exitStatus.ok);
    write('a.test.yaml', test("dialects: { meshwright: true }, now: '2027-01-31T18:00:00Z'"));
    const { text, status } = await run('test', folder);
    expect(text).toContain('the grant shop/p of team-a ended 2027-01-31T18:00:00Z');
    expect(status).toBe(exitStatus.negative);
    write('a.test.yaml', test("now: '2027-01-31T17:59:59Z'"));
    await expect(run('test', folder)).rejects.toThrow(/dialects: \{ meshwright: true \}/);
    write('a.test.yaml', test('dialects: { meshwright: true }, now: today'));
    await expect(run('test', folder)).rejects.toMatchObject({ fields: { path: 'mesh.now' } });
  });

  it('is explained', async () => {
    write('p.yaml', `${policy()}${more}`);
    const request = ['--from', 'front/x', '--to', 'shop/web', '--path', '/ok'];
    const dialect = ['--dialect', 'meshwright', '--at'];
    const before = await run('explain', folder, ...request, ...dialect, '2027-01-01T00:00:00Z');
    expect(before.text).toContain('ALLOW: allowed by shop/p rule 0 in tier 100');
    expect(before.text).toContain('ALLOW shop/p (tier 100; until 2027-01-31T18:00:00Z, team-a: CHG-1): matched');
    output = [];
    const after = await run('explain', folder, ...request, ...dialect, '2028-01-01T00:00:00Z');
    expect(after.text).toContain('failed on spec.notAfter: wants a time before 2027-01-31T18:00:00Z');
    expect(after.text).toContain('nearest miss: shop/p rule 0 failed only on notAfter');
    expect(after.status).toBe(exitStatus.negative);
  });
});

describe('meshwright policy explain and matrix', () => {
  it('explains a denial by its nearest miss', async () => {
    const { status, text } = await run(
      'explain',
      `${example}/policies`,
      '--from',
      'monitoring/prometheus',
      '--to',
      'production/backend-api',
      '--method',
      'POST',
      '--path',
      '/healthz',
    );
    expect(text).toContain('DENY: no rule matched');
    expect(text).toContain('wants GET, got POST');
    expect(text).toContain('nearest miss');
    expect(status).toBe(exitStatus.negative);
  });

  it('explains an allowed request', async () => {
    const { status, text } = await run(
      'explain',
      `${example}/policies`,
      '--from',
      'frontend/web',
      '--to',
      'production/backend-api',
      '--json',
    );
    expect(JSON.parse(text)).toMatchObject({
      decision: { action: 'allow', policy: 'production/allow-frontend' },
      connection: 'allow',
    });
    expect(status).toBe(exitStatus.ok);
  });

  it('shows who can reach what', async () => {
    const { text } = await run('matrix', `${example}/mesh.test.yaml`, '--json');
    expect(JSON.parse(text)).toEqual({
      sources: ['web', 'order-processor', 'prometheus', 'rogue', '(plaintext)'],
      destinations: ['production/backend-api', 'production/payment-service', 'production/secrets-vault'],
      cells: [
        ['allow', 'deny', 'allow'],
        ['deny', 'needs-http', 'allow'],
        ['needs-http', 'deny', 'allow'],
        ['deny', 'deny', 'deny'],
        ['deny', 'deny', 'deny'],
      ],
    });
    output = [];
    expect((await run('matrix', `${example}/mesh.test.yaml`)).text).toMatch(/^order-processor +- +http +yes$/m);
    output = [];
    expect((await run('matrix', `${example}/mesh.test.yaml`, '--svg')).text).toMatch(/^<svg .*<\/svg>$/s);
  });

  it('prints the JSON Schema of a kind', async () => {
    expect(JSON.parse((await run('schema', 'AuthorizationPolicy')).text)).toMatchObject({
      title: 'AuthorizationPolicy',
      type: 'object',
    });
  });
});
