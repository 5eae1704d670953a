import { describe, expect, it } from 'vitest';
import { meshStateSchema } from '../../src/mesh/index.js';
import type { Workload } from '../../src/mesh/index.js';
import { document, map, nodes, pod, policy, service } from './manifests.js';

function workload(text: string, name = 'web'): Workload | undefined {
  const { state } = map(nodes + text);
  meshStateSchema.parse(state);
  return state.workloads.find((each) => each.name === name);
}

const httpService = (extra: Record<string, unknown> = {}): Record<string, unknown> => ({
  clusterIP: '10.96.0.10',
  selector: { app: 'web' },
  ports: [{ port: 80, targetPort: 8080 }],
  ...extra,
});

describe('nodes', () => {
  it('takes InternalIP addresses, canonical, and the tunnel port', () => {
    const { state, problems } = map(nodes);
    expect(problems).toEqual([]);
    expect(state.nodes).toEqual([
      { name: 'node-a', addresses: ['192.0.2.1'], tunnelPort: 15002 },
      { name: 'node-b', addresses: ['192.0.2.2', '2001:db8::2'], tunnelPort: 25002 },
    ]);
  });

  it('leaves out a node that nothing could dial, and says so', () => {
    const { state, problems } = map('{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: []}}');
    expect(state.nodes).toEqual([]);
    expect(problems).toMatchObject([{ severity: 'error', line: 1, field: 'status.addresses' }]);
  });

  it('reports a tunnel port that is none', () => {
    const text = nodes.replace('"25002"', '"70000"');
    const { state, problems } = map(text);
    expect(state.nodes[1]?.tunnelPort).toBe(15002);
    expect(problems).toMatchObject([{ field: 'metadata.annotations["novaedge.io/mesh-tunnel-port"]', line: 9 }]);
  });
});

describe('pods', () => {
  it('maps identity, addresses, ports and probes, named ports resolved within their container', () => {
    const containers = [
      {
        name: 'app',
        ports: [
          { containerPort: 8080, name: 'http' },
          { containerPort: 53, name: 'dns', protocol: 'UDP' },
        ],
        livenessProbe: { httpGet: { path: '/healthz', port: 'http' } },
        readinessProbe: { tcpSocket: { port: 9000 } },
        startupProbe: { grpc: { port: 9001 } },
      },
      { name: 'other', livenessProbe: { httpGet: { port: 'http' } } },
    ];
    const status = { podIPs: [{ ip: '10.1.0.1' }, { ip: 'FD00::1' }] };
    expect(workload(pod('web', '10.1.0.1', { spec: { containers }, status }))).toEqual({
      namespace: 'shop',
      name: 'web',
      node: 'node-a',
      serviceAccount: 'web',
      addresses: ['10.1.0.1', 'fd00::1'],
      labels: {},
      enrolled: false,
      ready: true,
      ports: [
        { port: 8080, name: 'http', protocol: 'TCP' },
        { port: 53, name: 'dns', protocol: 'UDP' },
      ],
      probePorts: [8080, 9000, 9001],
      mtlsMode: 'STRICT',
    });
  });

  it.each([
    ['a finished pod', { status: { phase: 'Succeeded' } }],
    ['a pod on the host network', { spec: { hostNetwork: true } }],
    ['a pod without a node', { spec: { nodeName: null } }],
    ['a pod without an address', { status: { podIP: null } }],
  ])('leaves out %s, with a note', (_what, parts) => {
    const { state, problems } = map(nodes + pod('web', '10.1.0.1', parts));
    expect(state.workloads).toEqual([]);
    expect(problems).toMatchObject([{ severity: 'info' }]);
  });

  it('reads readiness from the condition; a pod being deleted is not ready', () => {
    const conditions = (status: string): object => ({ status: { conditions: [{ type: 'Ready', status }] } });
    expect(workload(pod('web', '10.1.0.1', conditions('True')))?.ready).toBe(true);
    expect(workload(pod('web', '10.1.0.1', conditions('Unknown')))?.ready).toBe(false);
    const metadata = { deletionTimestamp: '2026-01-01T00:00:00Z' };
    expect(workload(pod('web', '10.1.0.1', { metadata }))?.ready).toBe(false);
  });

  it('gives an address that two pods claim to neither, and one of a node to no pod', () => {
    const { state, problems } = map(
      nodes + pod('a', '10.1.0.1') + pod('b', '10.1.0.1') + pod('c', '192.0.2.1') + pod('d', '10.1.0.4'),
    );
    expect(state.workloads.map((each) => each.name)).toEqual(['d']);
    expect(problems.map((problem) => problem.severity)).toEqual(['error', 'error', 'error']);
  });
});

describe('enrolment', () => {
  const enabled = { 'novaedge.io/mesh': 'enabled' };
  const labels = { app: 'web' };
  const deployment = (metadata: object, template: object): string =>
    document({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop', ...metadata },
      spec: { selector: { matchLabels: labels }, template: { metadata: { labels, ...template } } },
    });
  const replicaSet = document({
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: { name: 'web-1', namespace: 'shop', ownerReferences: [{ kind: 'Deployment', name: 'web' }] },
    spec: { selector: { matchLabels: labels } },
  });
  const owned = { labels, metadata: { ownerReferences: [{ kind: 'ReplicaSet', name: 'web-1' }] } };

  it.each([
    ['by its own annotation', pod('web', '10.1.0.1', { annotations: enabled }), true],
    ['by a Service that selects it', pod('web', '10.1.0.1', { labels }) + service('web', httpService()), true],
    [
      'not by a Service of another namespace',
      pod('web', '10.1.0.1', { labels }) + service('web', httpService(), enabled, 'other'),
      false,
    ],
    [
      'not by a Service without the annotation',
      pod('web', '10.1.0.1', { labels }) + service('web', httpService(), {}),
      false,
    ],
    ['not by a Service without selector', pod('web', '10.1.0.1') + service('web', { ports: [{ port: 80 }] }), false],
    [
      'by its Deployment’s metadata',
      pod('web', '10.1.0.1', owned) + replicaSet + deployment({ annotations: enabled }, {}),
      true,
    ],
    [
      'by its Deployment’s template',
      pod('web', '10.1.0.1', owned) + replicaSet + deployment({}, { annotations: enabled }),
      true,
    ],
    [
      'by selector where the ReplicaSet is not there',
      pod('web', '10.1.0.1', owned) + deployment({ annotations: enabled }, {}),
      true,
    ],
    [
      'not by selector where the owner is another',
      pod('web', '10.1.0.1', { labels, metadata: { ownerReferences: [{ kind: 'ReplicaSet', name: 'web-2' }] } }) +
        replicaSet.replace('web-1', 'web-2').replace('"Deployment"', '"Rollout"') +
        deployment({ annotations: enabled }, {}),
      false,
    ],
    ['not at all without an annotation', pod('web', '10.1.0.1', owned) + replicaSet + deployment({}, {}), false],
  ])('%s', (_how, text, enrolled) => {
    expect(workload(text)?.enrolled).toBe(enrolled);
  });

  it('protects a pod whose annotation is neither on nor off, and says so', () => {
    const { state, problems } = map(nodes + pod('web', '10.1.0.1', { annotations: { 'novaedge.io/mesh': 'true' } }));
    expect(state.workloads[0]?.enrolled).toBe(true);
    expect(problems).toMatchObject([{ severity: 'error', got: '"true"', expected: '"enabled" or "disabled"' }]);
  });
});

describe('services and endpoints', () => {
  const ports = [
    { containerPort: 8080, name: 'http' },
    { containerPort: 9090, name: 'metrics' },
  ];
  const labels = { app: 'web' };
  const two =
    pod('web-0', '10.1.0.1', { labels, spec: { containers: [{ ports }] } }) +
    pod('web-1', '10.1.0.2', {
      labels,
      node: 'node-b',
      spec: { containers: [{ ports: [{ containerPort: 8081, name: 'http' }] }] },
      status: { conditions: [{ type: 'Ready', status: 'False' }] },
    });

  it('keeps the ports of a service apart and resolves named target ports for each pod', () => {
    const spec = httpService({
      ports: [
        { port: 80, name: 'http', targetPort: 'http', appProtocol: 'http' },
        { port: 9090, name: 'metrics', targetPort: 'metrics' },
        { port: 53, name: 'dns', protocol: 'UDP' },
      ],
    });
    const [mapped] = map(nodes + two + service('web', spec)).state.services;
    expect(mapped).toEqual({
      namespace: 'shop',
      name: 'web',
      clusterIps: ['10.96.0.10'],
      enrolled: true,
      ports: [
        {
          port: 80,
          name: 'http',
          protocol: 'TCP',
          appProtocol: 'http',
          endpoints: [
            { address: '10.1.0.1', port: 8080, workload: 'shop/web-0', node: 'node-a', ready: true },
            { address: '10.1.0.2', port: 8081, workload: 'shop/web-1', node: 'node-b', ready: false },
          ],
        },
        {
          port: 9090,
          name: 'metrics',
          protocol: 'TCP',
          endpoints: [{ address: '10.1.0.1', port: 9090, workload: 'shop/web-0', node: 'node-a', ready: true }],
        },
        {
          port: 53,
          name: 'dns',
          protocol: 'UDP',
          endpoints: [
            { address: '10.1.0.1', port: 53, workload: 'shop/web-0', node: 'node-a', ready: true },
            { address: '10.1.0.2', port: 53, workload: 'shop/web-1', node: 'node-b', ready: false },
          ],
        },
      ],
    });
  });

  const slice = (endpoints: readonly object[], slicePorts: readonly object[]): string =>
    document({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'web-x', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      endpoints,
      ports: slicePorts,
    });

  it('prefers EndpointSlices, port by port name', () => {
    const spec = httpService({
      ports: [
        { port: 80, name: 'http' },
        { port: 81, name: 'admin' },
      ],
    });
    const text = slice(
      [
        { addresses: ['10.1.0.2'], conditions: { ready: true }, targetRef: { kind: 'Pod', name: 'web-1' } },
        { addresses: ['10.1.0.1'], conditions: { ready: null } },
      ],
      [
        { name: 'http', port: 8080 },
        { name: 'admin', port: 9999 },
        { name: 'admin', port: 1, protocol: 'UDP' },
      ],
    );
    const [mapped] = map(nodes + two + service('web', spec) + text).state.services;
    const seen = mapped?.ports.map((each) =>
      each.endpoints.map((at) => `${at.address}:${String(at.port)} ${String(at.ready)}`),
    );
    expect(seen).toEqual([
      ['10.1.0.2:8080 true', '10.1.0.1:8080 true'],
      ['10.1.0.2:9999 true', '10.1.0.1:9999 true'],
    ]);
  });

  it('does not use an endpoint that is no pod of the mesh, or claims to be another pod', () => {
    const text = slice(
      [{ addresses: ['203.0.113.9'] }, { addresses: ['10.1.0.1'], targetRef: { kind: 'Pod', name: 'web-1' } }],
      [{ port: 8080 }],
    );
    const { state, problems } = map(nodes + two + service('web', httpService()) + text);
    expect(state.services[0]?.ports[0]?.endpoints).toEqual([]);
    expect(problems.map((each) => each.field)).toEqual(['endpoints[0].addresses[0]', 'endpoints[1].addresses[0]']);
  });

  it('reads Endpoints where there is no slice', () => {
    const text = document({
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'web', namespace: 'shop' },
      subsets: [{ addresses: [{ ip: '10.1.0.1' }], notReadyAddresses: [{ ip: '10.1.0.2' }], ports: [{ port: 7000 }] }],
    });
    const [mapped] = map(nodes + two + service('web', httpService()) + text).state.services;
    expect(mapped?.ports[0]?.endpoints).toMatchObject([
      { address: '10.1.0.1', port: 7000, ready: true },
      { address: '10.1.0.2', port: 7000, ready: false },
    ]);
  });

  it('knows headless services, and services outside the mesh', () => {
    const headless = map(nodes + two + service('web', httpService({ clusterIP: 'None', clusterIPs: ['None'] })));
    expect(headless.state.services[0]?.clusterIps).toEqual([]);
    expect(headless.state.services[0]?.ports[0]?.endpoints).toHaveLength(2);
    const external = map(nodes + service('web', { type: 'ExternalName', externalName: 'example.org' }));
    expect(external.state.services).toEqual([]);
  });

  it('lets nobody have an address and port that two services claim', () => {
    const { state, problems } = map(
      nodes +
        two +
        service('web', httpService()) +
        service('api', httpService()) +
        service('db', { clusterIP: '10.96.0.10', ports: [{ port: 5432 }] }),
    );
    expect(state.services.map((each) => [each.name, each.clusterIps])).toEqual([
      ['api', []],
      ['db', ['10.96.0.10']],
      ['web', []],
    ]);
    expect(problems).toHaveLength(2);
  });
});

describe('mTLS mode', () => {
  const authentication = (mode: string, namespace: string, matchLabels?: object): string =>
    document({
      apiVersion: 'security.istio.io/v1',
      kind: 'PeerAuthentication',
      metadata: { name: `pa-${mode.toLowerCase()}-${namespace}${matchLabels ? '-s' : ''}`, namespace },
      spec: { mtls: { mode }, ...(matchLabels ? { selector: { matchLabels } } : {}) },
    });
  const labels = { app: 'web' };
  const web = pod('web', '10.1.0.1', { labels });

  it.each([
    ['strict by default', web, 'STRICT'],
    ['the mesh’s', web + authentication('PERMISSIVE', 'istio-system'), 'PERMISSIVE'],
    [
      'the namespace’s over the mesh’s',
      web + authentication('PERMISSIVE', 'istio-system') + authentication('STRICT', 'shop'),
      'STRICT',
    ],
    ['not another namespace’s', web + authentication('DISABLE', 'other'), 'STRICT'],
    [
      'the selector’s over the namespace’s',
      web + authentication('STRICT', 'shop') + authentication('DISABLE', 'shop', labels),
      'DISABLE',
    ],
    ['not a selector’s that does not match', web + authentication('DISABLE', 'shop', { app: 'x' }), 'STRICT'],
    [
      'UNSET leaves it to the next',
      web + authentication('UNSET', 'shop') + authentication('PERMISSIVE', 'istio-system'),
      'PERMISSIVE',
    ],
    [
      'the strictest of one rank',
      web + authentication('DISABLE', 'shop') + authentication('PERMISSIVE', 'shop'),
      'PERMISSIVE',
    ],
    [
      'the service’s annotation',
      web + service('web', httpService(), { 'novaedge.io/mesh-mtls': 'permissive' }),
      'PERMISSIVE',
    ],
    [
      'the pod’s annotation',
      pod('web', '10.1.0.1', { annotations: { 'novaedge.io/mesh-mtls': 'disabled' } }),
      'DISABLE',
    ],
    [
      'strict for an unknown word',
      pod('web', '10.1.0.1', { annotations: { 'novaedge.io/mesh-mtls': 'off' } }),
      'STRICT',
    ],
  ])('%s', (_which, text, mode) => {
    expect(workload(text)?.mtlsMode).toBe(mode);
  });

  it('takes the strictest of port-level modes, and says so', () => {
    const { state, problems } = map(
      nodes +
        web +
        document({
          apiVersion: 'security.istio.io/v1',
          kind: 'PeerAuthentication',
          metadata: { name: 'x', namespace: 'shop' },
          spec: { mtls: { mode: 'PERMISSIVE' }, portLevelMtls: { 8080: { mode: 'STRICT' } } },
        }),
    );
    expect(state.workloads[0]?.mtlsMode).toBe('STRICT');
    expect(problems).toMatchObject([{ severity: 'warning', field: 'spec.portLevelMtls' }]);
  });
});

describe('policies', () => {
  const web = nodes + service('web', httpService()) + service('api', { ports: [{ port: 81 }] });

  it('passes a policy on with its place', () => {
    const { state, problems } = map(web + policy('allow', 'web'));
    expect(problems).toEqual([]);
    expect(state.policies).toMatchObject([{ manifest: { kind: 'ProxyPolicy' } }]);
    expect(state.policies[0]?.source).toMatch(/^test\.yaml:\d+$/);
    expect(state.denied).toEqual([]);
  });

  it('notes a ProxyPolicy of another type and leaves it alone', () => {
    const text = policy('limit', 'web').replace('MeshAuthorization', 'RateLimit');
    const { state, problems } = map(web + text);
    expect(state.policies).toEqual([]);
    expect(state.denied).toEqual([]);
    expect(problems).toMatchObject([{ severity: 'info', field: 'spec.type' }]);
  });

  it('denies what a policy targets that the engine refuses, and nothing else', () => {
    const { state, problems } = map(
      web + policy('bad', 'web', [{ from: [{ namespace: ['x'] }] }]) + policy('good', 'api'),
    );
    expect(state.denied).toMatchObject([{ service: 'shop/web', reason: expect.stringContaining('shop/bad') }]);
    expect(state.policies).toHaveLength(1);
    expect(problems).toMatchObject([{ severity: 'error', file: 'test.yaml', object: 'ProxyPolicy shop/bad' }]);
    expect(problems[0]?.field).toMatch(/^spec\.meshAuthorization\.rules\[0\]\.from\[0\]/);
  });

  it('reports a target that does not exist and keeps the policy for the day it does', () => {
    const { state, problems } = map(web + policy('early', 'later'));
    expect(state.policies).toHaveLength(1);
    expect(state.denied).toEqual([]);
    expect(problems).toMatchObject([{ severity: 'error', field: 'spec.targetRef.name', got: '"later"' }]);
  });

  it('asks the given judge instead of the engine', () => {
    const defect = { severity: 'error', path: 'spec.type', expected: 'a', got: 'b', fix: 'c' } as const;
    const { state } = map(web + policy('any', 'web'), { validatePolicy: () => [defect] });
    expect(state.denied).toMatchObject([{ service: 'shop/web' }]);
  });

  it('denies the whole namespace for a policy whose target cannot be read, and everything where not even that can', () => {
    const noTarget = {
      apiVersion: 'novaedge.io/v1alpha1',
      kind: 'ProxyPolicy',
      metadata: { name: 'x', namespace: 'shop' },
    };
    const denied = (value: object): string[] => map(web + document(value)).state.denied.map((each) => each.service);
    expect(denied({ ...noTarget, spec: { type: 'MeshAuthorization' } })).toEqual(['shop/*', 'shop/api', 'shop/web']);
    expect(denied({ ...noTarget, metadata: { name: 'x', namespace: ['shop'] } })).toEqual(['*']);
    expect(denied({ ...noTarget, apiVersion: 'novaedge.io/v1' })).toEqual(['shop/*', 'shop/api', 'shop/web']);
  });

  it('refuses two different policies of one name, keeping the first and denying the target of the second', () => {
    const same = map(web + policy('p', 'web') + policy('p', 'web'));
    expect(same.state.denied).toEqual([]);
    expect(same.problems).toMatchObject([{ severity: 'error', field: 'metadata.name' }]);
    const different = map(web + policy('p', 'web') + policy('p', 'api'));
    expect(different.state.denied).toMatchObject([{ service: 'shop/api' }]);
  });

  it('keeps protecting the pods of a malformed Service, on every port they declare', () => {
    const containers = [{ ports: [{ containerPort: 5432 }, { containerPort: 9187 }] }];
    const spec = {
      clusterIP: '10.96.0.9',
      selector: { app: 'db' },
      ports: [{ port: 5432 }, { port: 'metrics' }],
    };
    const { state } = map(
      nodes + pod('db', '10.1.0.9', { labels: { app: 'db' }, spec: { containers } }) + service('db', spec),
    );
    meshStateSchema.parse(state);
    expect(state.denied).toMatchObject([{ service: 'shop/db' }]);
    expect(state.workloads[0]?.enrolled).toBe(true);
    expect(state.services).toMatchObject([{ name: 'db', clusterIps: ['10.96.0.9'], enrolled: true }]);
    expect(state.services[0]?.ports.map((port) => [port.port, port.endpoints.map((each) => each.port)])).toEqual([
      [5432, [5432]],
      [9187, [9187]],
    ]);
    const unannotated = map(nodes + service('db', spec, {}));
    expect(unannotated.state.services).toEqual([]);
  });

  it('denies a Service that is malformed', () => {
    const { state } = map(web + service('db', { ports: [{ port: '80' }] }));
    expect(state.denied).toMatchObject([{ service: 'shop/db' }]);
  });
});
