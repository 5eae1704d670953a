import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NetnsLab } from '../../../src/testing/netns-lab.js';
import type { NetNamespace } from '../../../src/testing/netns-namespace.js';
import type { InterceptionPlan } from 'meshwright/tproxy';
import type { Command } from './node-agent.js';

const agentScript = fileURLToPath(new URL('./node-agent.ts', import.meta.url));
const serverScript = fileURLToPath(new URL('./plain-server.mjs', import.meta.url));

/** The agent process in the node's namespace, as a remote. */
export class Agent {
  readonly process: ChildProcess;
  #next = 1;

  private constructor(process: ChildProcess) {
    this.process = process;
  }

  static async start(node: NetNamespace): Promise<Agent> {
    const args = ['--conditions=meshwright-source', '--import', 'tsx', agentScript];
    const child = node.spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    await once(child, 'message');
    return new Agent(child);
  }

  tell(command: Command): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const onMessage = (message: {
        id: number;
        result?: unknown;
        error?: { message: string; code?: string };
      }): void => {
        if (message.id !== id) return;
        this.process.off('message', onMessage);
        if (message.error === undefined) resolve(message.result);
        else reject(Object.assign(new Error(message.error.message), { code: message.error.code }));
      };
      this.process.on('message', onMessage);
      this.process.send({ id, command });
    });
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await ended;
  }
}

export type Layout = 'routed' | 'bridge';

/**
 * One node with two pods behind it, `client` and `server`, and a machine outside. ClusterIP 10.96.0.10:80 is translated to
 * server:8080 as kube-proxy would do it.
 */
export interface NodeLab extends AsyncDisposable {
  readonly lab: NetnsLab;
  readonly node: NetNamespace;
  readonly client: NetNamespace;
  readonly server: NetNamespace;
  readonly outside: NetNamespace;
  readonly layout: Layout;
}

export const address = {
  node: { 4: '192.168.9.1', 6: 'fd09::1' },
  client: { 4: '10.1.0.5', 6: 'fd01::5' },
  server: { 4: '10.1.0.6', 6: 'fd01::6' },
  outside: { 4: '192.168.9.2', 6: 'fd09::2' },
  service: { 4: '10.96.0.10', 6: 'fd96::10' },
  /** A service whose endpoint is on another machine, so that no guard of this node's pods stands behind the capture. */
  remote: { 4: '10.96.0.20', 6: 'fd96::20' },
} as const;

export async function makeNodeLab(layout: Layout): Promise<NodeLab> {
  const lab = await NetnsLab.create();
  const node = await lab.namespace('node', {
    forwarding: true,
    sysctls: { 'net.bridge.bridge-nf-call-iptables': 0, 'net.bridge.bridge-nf-call-ip6tables': 0 },
  });
  const client = await lab.namespace('client');
  const server = await lab.namespace('server');
  const outside = await lab.namespace('outside');
  if (layout === 'bridge') await node.bridge('br0', { addresses: ['10.1.0.1/24', 'fd01::1/64'] });
  for (const [pod, name] of [
    [client, 'client'],
    [server, 'server'],
  ] as const) {
    const own = address[name];
    const isBridge = layout === 'bridge';
    await lab.link(
      { namespace: node, device: `v-${name}`, ...(isBridge ? { bridge: 'br0' } : {}) },
      {
        namespace: pod,
        device: 'eth0',
        addresses: isBridge ? [`${own[4]}/24`, `${own[6]}/64`] : [`${own[4]}/32`, `${own[6]}/128`],
      },
    );
    if (isBridge) {
      await pod.route('default', { via: '10.1.0.1' });
      await pod.route('default', { via: 'fd01::1' });
    } else {
      // As Calico does: a bare veth, a /32, and a gateway that answers for it.
      await node.ip('address', 'add', '169.254.1.1/32', 'dev', `v-${name}`, 'scope', 'link');
      await node.ip('address', 'add', 'fe80::ee/64', 'dev', `v-${name}`, 'nodad');
      await pod.route('169.254.1.1', { device: 'eth0' });
      await pod.ip('route', 'add', 'default', 'via', '169.254.1.1', 'dev', 'eth0');
      await pod.ip('-6', 'route', 'add', 'default', 'via', 'fe80::ee', 'dev', 'eth0');
      await node.route(`${own[4]}/32`, { device: `v-${name}` });
      await node.route(`${own[6]}/128`, { device: `v-${name}` });
    }
  }
  await lab.link(
    { namespace: node, device: 'uplink', addresses: ['192.168.9.1/24', 'fd09::1/64'] },
    { namespace: outside, device: 'eth0', addresses: ['192.168.9.2/24', 'fd09::2/64'] },
  );
  await outside.route('default', { via: '192.168.9.1' });
  await outside.route('default', { via: 'fd09::1' });
  for (const [pod, name, ports] of [
    [server, 'server', ['8080', '9090']],
    [client, 'client', ['8080']],
    [outside, 'outside', ['8080']],
  ] as const) {
    const child = pod.spawn(process.execPath, [serverScript, name, ...ports], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout as NodeJS.ReadableStream, 'data');
  }
  return { lab, node, client, server, outside, layout, [Symbol.asyncDispose]: () => lab.close() };
}

export type KubeProxy = 'iptables-legacy' | 'iptables-nft' | 'nft';

const translations = [
  { service: address.service, target: { 4: '10.1.0.6:8080', 6: '[fd01::6]:8080' } },
  { service: address.remote, target: { 4: '192.168.9.2:8080', 6: '[fd09::2]:8080' } },
] as const;

/** Destination NAT of the ClusterIPs in the shape of each kind of kube-proxy. */
export async function installKubeProxy(node: NetNamespace, kind: KubeProxy): Promise<void> {
  if (kind === 'nft') {
    const chains = (rules: readonly string[]): string =>
      ['prerouting', 'output']
        .map((hook) => `chain nat-${hook} {\ntype nat hook ${hook} priority -100;\n${rules.join('\n')}\n}\n`)
        .join('');
    const rulesOf = (family: 4 | 6): string[] =>
      translations.map(
        (one) => `ip${family === 6 ? '6' : ''} daddr ${one.service[family]} tcp dport 80 dnat to ${one.target[family]}`,
      );
    const rules = `table ip kube-proxy {\n${chains(rulesOf(4))}}\ntable ip6 kube-proxy {\n${chains(rulesOf(6))}}\n`;
    await node.exec('nft', ['-f', '-'], { input: rules });
    return;
  }
  for (const family of [4, 6] as const) {
    const command = kind.replace('iptables', `ip${family === 6 ? '6' : ''}tables`);
    const rules = translations.map(
      ({ service, target }) =>
        `-A KUBE-SERVICES -d ${service[family]} -p tcp --dport 80 -j DNAT --to-destination ${target[family]}`,
    );
    const input = `*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
${rules.join('\n')}
COMMIT
*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
`;
    await node.exec(`${command}-restore`, ['--noflush', '-w'], { input });
  }
}

/** What `curl` in `namespace` gets: the body, or why it failed. */
export async function get(namespace: NetNamespace, url: string, ...options: readonly string[]): Promise<string> {
  const args = ['-sS', '-g', '--max-time', '3', ...options, url];
  const { status, stdout, stderr } = await namespace.exec('curl', args, { allowFailure: true });
  if (status === 0) return stdout.trim();
  // 7: the connection was refused at once. 52, 55, 56: it was reset after it was made. 28: no answer.
  if (status === 7 && !/after [1-9]\d{3}/.test(stderr)) return 'refused';
  if (status === 52 || status === 55 || status === 56) return 'reset';
  if (status === 28 || status === 7) return 'timeout';
  return `curl ${String(status)}: ${stderr.trim()}`;
}

export function url(ip: string, port: number): string {
  return ip.includes(':') ? `http://[${ip}]:${String(port)}/` : `http://${ip}:${String(port)}/`;
}

/** The services and the server pod are enrolled; the client pod is not. */
export const plan: InterceptionPlan = {
  pods: [
    { hostInterface: 'v-client', addresses: [address.client[4], address.client[6]] },
    { hostInterface: 'v-server', addresses: [address.server[4], address.server[6]] },
  ],
  outbound: [
    { ip: address.service[4], port: 80 },
    { ip: address.service[6], port: 80 },
    { ip: address.remote[4], port: 80 },
    { ip: address.remote[6], port: 80 },
    { ip: address.server[4] },
    { ip: address.server[6] },
  ],
  inbound: [{ ip: address.server[4] }, { ip: address.server[6] }],
  host: {
    mode: 'probes',
    probes: [
      { ip: address.server[4], port: 9090 },
      { ip: address.server[6], port: 9090 },
    ],
  },
};
