/** Who reaches whom: the four policies of the guide, on real requests. */
import { briefly } from '../checklist.js';
import type { Checklist } from '../checklist.js';
import { curl, outcome } from '../curl.js';
import type { CurlResult } from '../curl.js';
import type { LogLine } from '../log-reader.js';
import type { DemoMesh } from '../mesh.js';
import { clusterUrl, podNamed, services } from '../topology.js';

interface Expectation {
  readonly name: string;
  readonly from: string;
  readonly url: string;
  readonly method?: string;
  readonly expected: '200' | '403';
  /** The policy that must have decided, in the log of a destination's agent. */
  readonly policy?: string;
}

const podUrl = (pod: string, path: string): string => `http://${podNamed(pod).address}:8080${path}`;

const expectations: readonly Expectation[] = [
  {
    name: 'frontend -> a backend-api pod on the other node',
    from: 'web-frontend',
    url: podUrl('backend-api-1', '/api'),
    expected: '200',
    policy: 'production/backend-api-allow-frontend',
  },
  {
    name: 'frontend -> a backend-api pod on its own node',
    from: 'web-frontend',
    url: podUrl('backend-api-0', '/api'),
    expected: '200',
    policy: 'production/backend-api-allow-frontend',
  },
  { name: 'rogue -> backend-api', from: 'rogue-client', url: clusterUrl('backend-api', '/api'), expected: '403' },
  {
    name: 'rogue -> a backend-api pod',
    from: 'rogue-client',
    url: podUrl('backend-api-1', '/api'),
    expected: '403',
  },
  {
    name: 'monitoring GET /healthz',
    from: 'prometheus',
    url: clusterUrl('backend-api', '/healthz'),
    expected: '200',
    policy: 'production/backend-api-monitoring-readonly',
  },
  { name: 'monitoring GET /api', from: 'prometheus', url: clusterUrl('backend-api', '/api'), expected: '403' },
  {
    name: 'monitoring POST /healthz',
    from: 'prometheus',
    url: clusterUrl('backend-api', '/healthz'),
    method: 'POST',
    expected: '403',
  },
  {
    name: 'order-processor POST /api/v1/charges',
    from: 'order-processor',
    url: clusterUrl('payment-service', '/api/v1/charges'),
    method: 'POST',
    expected: '200',
    policy: 'production/payment-allow-orders',
  },
  {
    name: 'order-processor POST /api/v1/refunds',
    from: 'order-processor',
    url: clusterUrl('payment-service', '/api/v1/refunds'),
    method: 'POST',
    expected: '200',
    policy: 'production/payment-allow-orders',
  },
  {
    name: 'order-processor GET /api/v1/charges',
    from: 'order-processor',
    url: clusterUrl('payment-service', '/api/v1/charges'),
    expected: '403',
  },
  {
    name: 'frontend POST /api/v1/charges',
    from: 'web-frontend',
    url: clusterUrl('payment-service', '/api/v1/charges'),
    method: 'POST',
    expected: '403',
  },
  {
    name: 'secrets-vault from node untrusted-1',
    from: 'batch-runner',
    url: clusterUrl('secrets-vault', '/'),
    expected: '403',
    policy: 'production/deny-untrusted-node',
  },
  { name: 'secrets-vault from node-a', from: 'web-frontend', url: clusterUrl('secrets-vault', '/'), expected: '200' },
];

export async function checkTraffic(mesh: DemoMesh, list: Checklist): Promise<void> {
  await list.guard('frontend -> backend-api through the ClusterIP', () => checkReplicas(mesh, list));
  for (const expectation of expectations) {
    await list.guard(expectation.name, async () => {
      const marks = nodesOf(mesh);
      const { from, url, method = 'GET' } = expectation;
      const result = await curl(mesh.fabric.pod(from), url, { method });
      const decided = await decision(mesh, marks, from, method, new URL(url));
      const asExpected = decided !== '' && (expectation.policy === undefined || decided === expectation.policy);
      list.record({
        name: expectation.name,
        expected: expectation.expected,
        actual: outcome(result),
        ok: outcome(result) === expectation.expected && asExpected,
        detail: decided === '' ? 'no decision in the logs' : decided,
      });
    });
  }
  await list.guard('interception wins over kube-proxy', async () => {
    let packets = 0;
    for (const node of ['node-a', 'node-b', 'untrusted-1']) {
      const { stdout } = await mesh.fabric.node(node).exec('iptables', ['-t', 'nat', '-nvxL', 'KUBE-SERVICES']);
      packets += stdout
        .split('\n')
        .reduce(
          (sum, line) =>
            sum + (/^\s*(\d+)\s+\d+\s+DNAT/.exec(line)?.[1] === undefined ? 0 : Number(/^\s*(\d+)/.exec(line)?.[1])),
          0,
        );
    }
    list.equal(
      "packets that kube-proxy's rules rewrote",
      0,
      packets,
      'iptables -t nat -nvxL KUBE-SERVICES on every node',
    );
  });
}

async function checkReplicas(mesh: DemoMesh, list: Checklist): Promise<void> {
  const results: CurlResult[] = [];
  for (let index = 0; index < 6; index += 1) {
    results.push(await curl(mesh.fabric.pod('web-frontend'), clusterUrl('backend-api', '/api')));
  }
  const statuses = [...new Set(results.map(outcome))].join(', ');
  list.equal('frontend -> backend-api through the ClusterIP', '200', statuses, 'production/backend-api-allow-frontend');
  const replicas = [...new Set(results.map(({ body }) => body.split(' ')[0] ?? ''))].sort().join(', ');
  list.equal('both replicas of backend-api are reached', 'backend-api-0, backend-api-1', replicas, '6 requests');
  const source = [...new Set(results.map(({ body }) => / from (?:::ffff:)?(\S+)/.exec(body)?.[1] ?? ''))].join(', ');
  list.equal(
    "the backend sees the caller's own address",
    podNamed('web-frontend').address,
    source,
    'source address kept',
  );
}

type Marks = readonly (readonly [string, number])[];

function nodesOf(mesh: DemoMesh): Marks {
  return ['node-a', 'node-b', 'untrusted-1'].map((node) => [node, mesh.agentLog(node).mark] as const);
}

/** What the agents logged since `marks` about a judged request of this pod: the policy, or the reason. */
async function decision(mesh: DemoMesh, marks: Marks, pod: string, method: string, url: URL): Promise<string> {
  const { namespace } = podNamed(pod);
  const endpoints = services.find(
    (each) => each.clusterIp === url.hostname || each.endpoints.some((endpoint) => endpoint === url.host),
  )?.endpoints;
  const isAbout = (line: LogLine): boolean =>
    (line.msg === 'mesh request' || (line.msg === 'mesh connection refused' && line['side'] === 'inbound')) &&
    line['decision'] !== undefined &&
    String(line['source_principal']).includes(`/ns/${namespace}/sa/`) &&
    endpoints?.includes(String(line['destination'])) === true &&
    // Where no rule asks about HTTP, the connection is judged as a whole.
    (line['method'] === undefined || (line['method'] === method && line['path'] === url.pathname));
  const judged = await Promise.any(
    marks.map(async ([node, mark]) => {
      const line = await mesh.agentLog(node).wait(isAbout, 1_500, mark);
      if (line === undefined) throw new Error('none');
      return line;
    }),
  ).catch(() => undefined);
  return judged === undefined ? '' : briefly({ policy: judged['policy'], reason: judged['decision'] });
}
