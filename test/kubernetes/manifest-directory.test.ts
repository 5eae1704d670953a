import { chmod, mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManifestDirectory } from '../../src/kubernetes/index.js';
import type { ManifestDirectoryOptions } from '../../src/kubernetes/index.js';
import type { Logger } from '../../src/core/index.js';
import { median } from '../support/median.js';
import { document, nodes, policy, service } from './manifests.js';

let directory: string;
let open: ManifestDirectory[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'meshwright-manifests-'));
  open = [];
});
afterEach(async () => {
  for (const manifests of open) await manifests.close();
  await rm(directory, { recursive: true, force: true });
});

async function follow(options: Partial<ManifestDirectoryOptions> = {}): Promise<ManifestDirectory> {
  const manifests = await ManifestDirectory.open({ directory, trustDomain: 'cluster.local', ...options });
  open.push(manifests);
  return manifests;
}

const file = (name: string): string => join(directory, name);
/** Whole at once, since half a file is a state too: a reader may come between its being emptied and its being filled. */
const put = async (name: string, text: string): Promise<void> => {
  await writeFile(join(directory, '.written'), text);
  await rename(join(directory, '.written'), file(name));
};
const web = service('web', { clusterIP: '10.96.0.10', ports: [{ port: 80 }] });
const api = service('api', { clusterIP: '10.96.0.11', ports: [{ port: 80 }] });
const broken = (text: string): string => text.replace('"ALLOW"', '"PERMIT"');
const unparsable = (text: string): string => text.replace('{', '{ "a": *nope,');

const denied = (manifests: ManifestDirectory): readonly string[] =>
  manifests.state.current.denied.map((each) => each.service);
const policies = (manifests: ManifestDirectory): readonly string[] =>
  manifests.state.current.policies.map(({ manifest }) =>
    JSON.stringify(manifest['metadata']).replace(/.*"name":"([^"]*)".*/, '$1'),
  );
const action = (manifests: ManifestDirectory): unknown =>
  (manifests.state.current.policies[0]?.manifest['spec'] as { meshAuthorization?: { rules?: unknown } })
    .meshAuthorization?.rules;
const errors = (manifests: ManifestDirectory): ManifestDirectory['problems']['current'] =>
  manifests.problems.current.filter((problem) => problem.severity === 'error');
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('ManifestDirectory', () => {
  it('reads every manifest below a directory, and nothing else', async () => {
    await mkdir(file('deeper'));
    await put('a.yaml', nodes);
    await put('deeper/b.yml', web);
    await put(
      'c.json',
      JSON.stringify({ kind: 'List', apiVersion: 'v1', items: [JSON.parse(api.replace('---', ''))] }),
    );
    await put('notes.txt', 'not a manifest: [');
    await put('.a.yaml.swp', 'not a manifest: [');
    await symlink(file('a.yaml'), file('link.txt'));
    await symlink(directory, file('cycle'));
    const manifests = await follow();
    expect(manifests.problems.current).toEqual([]);
    expect(manifests.state.current.nodes).toHaveLength(2);
    expect(manifests.state.current.services.map((each) => each.name)).toEqual(['api', 'web']);
  });

  it('follows a file that is linked to, as in a ConfigMap volume', async () => {
    await mkdir(file('..1'));
    await put('..1/a.yaml', nodes);
    await symlink('..1', file('..data'));
    await symlink('..data/a.yaml', file('a.yaml'));
    const manifests = await follow();
    expect(manifests.state.current.nodes).toHaveLength(2);
    await mkdir(file('..2'));
    await put('..2/a.yaml', nodes.slice(0, nodes.indexOf('---')));
    await symlink('..2', file('..data_tmp'));
    await rename(file('..data_tmp'), file('..data'));
    await eventually(() => expect(manifests.state.current.nodes).toHaveLength(1));
  });

  it.each([
    ['written in place', (text: string) => writeFile(file('a.yaml'), text)],
    [
      'renamed over, as editors do',
      (text: string) => writeFile(file('.a.tmp'), text).then(() => rename(file('.a.tmp'), file('a.yaml'))),
    ],
    ['deleted and made anew', (text: string) => unlink(file('a.yaml')).then(() => put('a.yaml', text))],
  ])('sees within a second what is %s', async (_how, write) => {
    await put('a.yaml', web);
    const manifests = await follow();
    const tookMs: number[] = [];
    for (const [text, services] of [
      [web + api, 2],
      [web, 1],
      [web + api, 2],
    ] as const) {
      const startMs = performance.now();
      await write(text);
      await eventually(() => expect(manifests.state.current.services).toHaveLength(services));
      tookMs.push(performance.now() - startMs);
    }
    expect(median(tookMs), JSON.stringify(tookMs)).toBeLessThan(1000);
  });

  it('sees new files, new directories and deletions', async () => {
    const manifests = await follow();
    await put('a.yaml', web);
    await eventually(() => expect(manifests.state.current.services).toHaveLength(1));
    await mkdir(file('sub'));
    await put('sub/b.yaml', api);
    await eventually(() => expect(manifests.state.current.services).toHaveLength(2));
    await rm(file('sub'), { recursive: true });
    await eventually(() => expect(manifests.state.current.services).toHaveLength(1));
    await unlink(file('a.yaml'));
    await eventually(() => expect(manifests.state.current.services).toHaveLength(0));
    expect(manifests.problems.current).toEqual([]);
  });

  it('does not announce a state that did not change', async () => {
    await put('a.yaml', web);
    const manifests = await follow();
    let changes = 0;
    manifests.state.subscribe(() => void (changes += 1));
    await put('a.yaml', `${web}\n# the same\n`);
    await manifests.reload();
    await manifests.reload();
    expect(changes).toBe(0);
  });

  it('cannot be opened without its directory, or with options out of bounds', async () => {
    await expect(follow({ directory: file('nowhere') })).rejects.toMatchObject({
      code: 'KUBERNETES_DIRECTORY_UNREADABLE',
    });
    await expect(follow({ debounceMs: 500 })).rejects.toMatchObject({ code: 'KUBERNETES_OPTION_INVALID' });
  });

  it('keeps everything when the directory goes away, and follows it again when it is back', async () => {
    await mkdir(file('sub'));
    await put('sub/a.yaml', web);
    const manifests = await follow({ directory: file('sub'), pollMs: 50 });
    await rename(file('sub'), file('gone'));
    await manifests.reload();
    expect(manifests.state.current.services).toHaveLength(1);
    await mkdir(file('sub'));
    await put('sub/a.yaml', web + api);
    await eventually(() => expect(manifests.state.current.services).toHaveLength(2));
  });
});

describe('last good forms', () => {
  it('keeps a policy that becomes malformed, reports it once, and takes the corrected one', async () => {
    const lines: string[] = [];
    const logger: Logger = {
      debug: () => undefined,
      info: (message) => void lines.push(message),
      warn: (message) => void lines.push(message),
      error: (message) => void lines.push(message),
      child: () => logger,
    };
    await put('a.yaml', web + policy('allow', 'web', [{ from: [{ namespaces: ['a'] }] }]));
    const manifests = await follow({ logger });
    await put('a.yaml', broken(web + policy('allow', 'web', [{ from: [{ namespaces: ['b'] }] }])));
    await eventually(() => expect(errors(manifests)).toHaveLength(1));
    expect(errors(manifests)[0]).toMatchObject({
      file: file('a.yaml'),
      object: 'ProxyPolicy shop/allow',
      field: 'spec.meshAuthorization.action',
      got: '"PERMIT"',
      keptLastGood: true,
    });
    expect(errors(manifests)[0]?.line).toBeGreaterThan(1);
    expect(action(manifests)).toEqual([{ from: [{ namespaces: ['a'] }] }]);
    expect(denied(manifests)).toEqual([]);
    await manifests.reload();
    await manifests.reload();
    expect(lines).toEqual(['manifest problem']);
    await put('a.yaml', web + policy('allow', 'web', [{ from: [{ namespaces: ['c'] }] }]));
    await eventually(() => expect(errors(manifests)).toEqual([]));
    expect(action(manifests)).toEqual([{ from: [{ namespaces: ['c'] }] }]);
    expect(lines).toEqual(['manifest problem', 'manifest problem solved']);
  });

  it('denies what a malformed policy targets that never was good, and lets all others proceed', async () => {
    await put('a.yaml', web + api + broken(policy('bad', 'web')) + policy('good', 'api'));
    const manifests = await follow();
    expect(denied(manifests)).toEqual(['shop/web']);
    expect(policies(manifests)).toEqual(['good']);
    expect(errors(manifests)).toMatchObject([{ keptLastGood: false }]);
  });

  it.each([
    ['does not parse any more', (text: string) => put('a.yaml', unparsable(text))],
    ['was emptied', () => put('a.yaml', '')],
    ['holds only a comment', () => put('a.yaml', '# later\n')],
    ['is not UTF-8 any more', () => writeFile(file('a.yaml'), Buffer.from([0xff, 0xfe, 0x00]))],
    ['is a directory loop', () => unlink(file('a.yaml')).then(() => symlink('a.yaml', file('a.yaml')))],
  ])('keeps all objects of a file that %s', async (_how, harm) => {
    const text = policy('allow', 'web') + web;
    await put('a.yaml', text);
    await put('b.yaml', api);
    const manifests = await follow();
    await harm(text);
    await eventually(() => expect(errors(manifests)).toMatchObject([{ file: file('a.yaml'), keptLastGood: true }]));
    expect(policies(manifests)).toEqual(['allow']);
    expect(manifests.state.current.services).toHaveLength(2);
    expect(denied(manifests)).toEqual([]);
    await rm(file('a.yaml'));
    await eventually(() => expect(policies(manifests)).toEqual([]));
    expect(errors(manifests)).toEqual([]);
  });

  it('takes the good documents of a file beside one that does not parse', async () => {
    await put('a.yaml', policy('one', 'web') + policy('two', 'web') + web);
    const manifests = await follow();
    await put('a.yaml', unparsable(policy('one', 'web')) + policy('three', 'web') + web);
    await eventually(() => expect(policies(manifests)).toEqual(['one', 'three', 'two']));
    expect(denied(manifests)).toEqual([]);
  });

  it('denies what a document may target that does not parse and never did', async () => {
    await put('a.yaml', web + api);
    const manifests = await follow();
    await put('b.yaml', `${unparsable(policy('new', 'web'))}`);
    await eventually(() => expect(errors(manifests)).toMatchObject([{ file: file('b.yaml'), keptLastGood: false }]));
    expect(denied(manifests).length).toBeGreaterThan(0);
    await put('b.yaml', 'this is no policy: [');
    await eventually(() => expect(denied(manifests)).toEqual([]));
    expect(manifests.state.current.services).toHaveLength(2);
  });

  it('keeps what was in force while there are two of one name', async () => {
    await put('a.yaml', web + api + policy('p', 'web'));
    const manifests = await follow();
    await put('0.yaml', policy('p', 'api'));
    await eventually(() => expect(errors(manifests)).toHaveLength(1));
    expect(manifests.state.current.policies[0]?.source).toContain('a.yaml');
    expect(denied(manifests)).toEqual([]);
    await put('a.yaml', web + api);
    await eventually(() => expect(manifests.state.current.policies[0]?.source).toContain('0.yaml'));
    expect(errors(manifests)).toEqual([]);
  });

  it('outlives a restart when there is a data directory', async () => {
    const dataDirectory = file('.data');
    await put('a.yaml', web + policy('allow', 'web'));
    await (await follow({ dataDirectory })).close();
    await put('a.yaml', web + broken(policy('allow', 'web')));
    const restarted = await follow({ dataDirectory });
    expect(policies(restarted)).toEqual(['allow']);
    expect(denied(restarted)).toEqual([]);
    expect(errors(restarted)).toMatchObject([{ keptLastGood: true }]);
    await restarted.close();
    await put('a.yaml', web + unparsable(policy('allow', 'web')));
    const again = await follow({ dataDirectory });
    expect(policies(again)).toEqual(['allow']);
    await again.close();

    const forgetful = await follow();
    expect(policies(forgetful)).toEqual([]);
    expect(denied(forgetful).length).toBeGreaterThan(0);
  });

  it('does not bring back across a restart what was deleted in the meantime', async () => {
    const dataDirectory = file('.data');
    await put('a.yaml', web + policy('allow', 'web'));
    await (await follow({ dataDirectory })).close();
    await put('a.yaml', web);
    expect(policies(await follow({ dataDirectory }))).toEqual([]);
  });

  it('goes on without what was saved when that is damaged', async () => {
    const dataDirectory = file('.data');
    await put('a.yaml', web + policy('allow', 'web'));
    await (await follow({ dataDirectory })).close();
    await writeFile(join(dataDirectory, 'last-good-manifests'), 'rubbish');
    const manifests = await follow({ dataDirectory });
    expect(policies(manifests)).toEqual(['allow']);
    await manifests.close();
    await chmod(join(dataDirectory, 'last-good-manifests'), 0o666);
    await put('a.yaml', web + broken(policy('allow', 'web')));
    expect(denied(await follow({ dataDirectory }))).toEqual(['shop/web']);
  });

  it('moves no address of a pool over restarts, though VIPs came before it', async () => {
    const dataDirectory = file('.data');
    const vip = (name: string): string =>
      document({
        apiVersion: 'novaedge.io/v1alpha1',
        kind: 'ProxyVIP',
        metadata: { name },
        spec: { mode: 'L2ARP', ports: [80], poolRef: { name: 'pool' } },
      });
    const pool = document({
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyIPPool',
      metadata: { name: 'pool' },
      spec: { cidrs: ['203.0.113.0/29'] },
    });
    const addresses = (manifests: ManifestDirectory): unknown =>
      manifests.state.current.vips.map(({ name, addresses: [address] }) => [name, address]);
    await put('a.yaml', nodes + pool + vip('n'));
    await (await follow({ dataDirectory })).close();
    await put('b.yaml', vip('m'));
    expect(addresses(await follow({ dataDirectory }))).toEqual([
      ['m', '203.0.113.2'],
      ['n', '203.0.113.1'],
    ]);
  });
});
