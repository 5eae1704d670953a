/** The running mesh of the demo: pods' programs, the reference controller and agents as separate processes. */
import type { ChildProcess } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { callAdmin } from 'meshwright/mesh';
import type { VipReport } from 'meshwright/mesh';
import type { ExecResult, NetNamespace } from 'meshwright/testing';
import { stringify } from 'yaml';
import { buildFabric } from './fabric.js';
import type { Fabric } from './fabric.js';
import type { JoinResult } from './join.js';
import { LogReader } from './log-reader.js';
import { temporaryDirectory } from './teardown.js';
import type { TemporaryDirectory } from './teardown.js';
import { clusterAddress, controllerAddress, controllerPort, nodes, pods, tunnelPort } from './topology.js';

/** Built by `npm run build`, beside this program. */
const program = (name: string): string => fileURLToPath(new URL(`../${name}/main.js`, import.meta.url));
const source = (path: string): string => fileURLToPath(new URL(`../../../examples/demo/${path}`, import.meta.url));

const programOf = { http: 'http-server', gateway: 'gateway', tcp: 'tcp-echo' } as const;

export interface Lifetimes {
  readonly svidTtlMs: number;
  readonly tokenTtlMs: number;
}

/** A running program and its log. */
export interface Running {
  readonly child: ChildProcess;
  readonly log: LogReader;
}

export class DemoMesh {
  readonly fabric: Fabric;
  readonly directory: string;
  readonly #temporary: TemporaryDirectory;
  readonly #processes = new Map<string, Running>();

  private constructor(fabric: Fabric, temporary: TemporaryDirectory) {
    this.fabric = fabric;
    this.directory = temporary.path;
    this.#temporary = temporary;
  }

  static async create(): Promise<DemoMesh> {
    const temporary = await temporaryDirectory();
    try {
      const mesh = new DemoMesh(await buildFabric(), temporary);
      temporary.removeLast();
      await cp(source('manifests'), mesh.manifests, { recursive: true });
      return mesh;
    } catch (error) {
      temporary.remove();
      throw error;
    }
  }

  get manifests(): string {
    return join(this.directory, 'manifests');
  }

  controllerLog(): LogReader {
    return this.#running('controller').log;
  }

  agentLog(node: string): LogReader {
    return this.#running(node).log;
  }

  dataOf(node: string): string {
    return join(this.directory, node, 'data');
  }

  configOf(name: string): string {
    return join(this.directory, name, 'config.yaml');
  }

  joinFileOf(node: string): string {
    return join(this.directory, node, 'join.json');
  }

  adminOf(name: string): string {
    return join(this.directory, name, 'admin.sock');
  }

  static programOf(name: 'reference-agent' | 'reference-controller'): string {
    return program(name);
  }

  startApps(): void {
    for (const pod of pods) {
      if (pod.app === 'none') continue;
      const app = source(`apps/${programOf[pod.app]}.mjs`);
      const backend = pod.app === 'gateway' ? [clusterAddress('backend-api')] : [];
      this.#start(pod.name, this.fabric.pod(pod.name), [app, pod.name, ...backend, ...pod.ports.map(String)]);
    }
  }

  /** Starts (or starts again) the controller; resolves when it serves. */
  async startController(lifetimes: Lifetimes): Promise<void> {
    await this.#writeConfig('controller', {
      trustDomain: 'cluster.local',
      data: this.dataOf('controller'),
      manifests: this.manifests,
      listen: { host: controllerAddress, port: controllerPort },
      ...lifetimes,
      metrics: { host: '127.0.0.1', port: 9091 },
      admin: this.adminOf('controller'),
    });
    const running = this.#start('controller', this.fabric.controller, [
      program('reference-controller'),
      'serve',
      '--config',
      this.configOf('controller'),
    ]);
    await this.#ready('controller', running);
  }

  /** Starts (or starts again) an agent; resolves when it serves. */
  async startAgent(node: string, options: { readonly backend?: 'nftables' | 'iptables' } = {}): Promise<void> {
    const spec = nodes.find(({ name }) => name === node);
    const joinFile = this.joinFileOf(node);
    await this.#writeConfig(node, {
      node,
      trustDomain: 'cluster.local',
      data: this.dataOf(node),
      controller: { address: `${controllerAddress}:${String(controllerPort)}` },
      joinFile,
      tunnel: { host: spec?.address, port: tunnelPort },
      interception: { backend: options.backend ?? 'nftables' },
      vips: { interface: 'eth0' },
      metrics: { host: '127.0.0.1', port: 9090 },
      admin: this.adminOf(node),
    });
    const running = this.#start(node, this.fabric.node(node), [
      program('reference-agent'),
      'serve',
      '--config',
      this.configOf(node),
    ]);
    await this.#ready(node, running);
  }

  /** Has the controller make a one-time join token for a node, and puts it where the node's agent looks for it. */
  async makeJoinToken(node: string): Promise<void> {
    const join_ = await callAdmin(this.adminOf('controller'), 'join-token', { node });
    await mkdir(join(this.directory, node), { recursive: true, mode: 0o700 });
    await writeFile(this.joinFileOf(node), JSON.stringify(join_), { mode: 0o600 });
  }

  /** Uses a join file, new or old, on the machine that has no agent. */
  async joinAsOutsider(joinFile: string): Promise<JoinResult> {
    const { stdout } = await this.runHelper(this.fabric.outsider, 'join', joinFile);
    return JSON.parse(stdout) as JoinResult;
  }

  /** Runs a part of this very program in a namespace. */
  runHelper(
    space: NetNamespace,
    name: 'attack' | 'ask-lease' | 'ask-token' | 'join',
    input: string,
  ): Promise<ExecResult> {
    return space.exec(process.execPath, [process.argv[1] ?? '', name], { input });
  }

  /** Ends a program at once, as a crash would. */
  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { child } = this.#running(name);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** Runs a program of the demo's own in a namespace; its output is read as JSON lines. */
  run(name: string, space: NetNamespace, app: string, args: readonly string[]): Running {
    return this.#start(name, space, [source(`apps/${app}`), ...args]);
  }

  async status(node: string): Promise<Record<string, unknown>> {
    return (await callAdmin(this.adminOf(node), 'status')) as Record<string, unknown>;
  }

  /** What `mesh vips` shows. */
  async vips(node: string): Promise<VipReport> {
    return (await callAdmin(this.adminOf(node), 'vips')) as VipReport;
  }

  /** The value of a metric of an agent (the sum over its labels, or those that contain `labels`); 0 when it is not there. */
  async metric(node: string, name: string, labels = ''): Promise<number> {
    const text = await this.metrics(node);
    return text
      .split('\n')
      .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  async metrics(node: string): Promise<string> {
    const { stdout } = await this.fabric
      .node(node)
      .exec('curl', ['--silent', '--max-time', '3', 'http://127.0.0.1:9090/metrics'], { allowFailure: true });
    return stdout;
  }

  async editManifest(file: string, edit: (text: string) => string): Promise<void> {
    const path = join(this.manifests, file);
    await writeFile(path, edit(await readFile(path, 'utf8')));
  }

  /** Ends every program, and removes every namespace and file. */
  close(): void {
    this.fabric.close();
    this.#temporary.remove();
  }

  /** The last lines of every program that logged something unusual, for a run that failed. */
  diagnosis(): string {
    return [...this.#processes]
      .map(([name, { child, log }]) => {
        const ended = child.exitCode ?? child.signalCode;
        const warnings = log.lines.filter(({ level }) => level === 'error').slice(-5);
        const lines = [...warnings.map((line) => JSON.stringify(line)), ...log.other.slice(-15)];
        return lines.length === 0
          ? ''
          : `--- ${name}${ended === null ? '' : ` (ended: ${String(ended)})`}\n${lines.join('\n')}`;
      })
      .filter((part) => part !== '')
      .join('\n');
  }

  #start(name: string, space: NetNamespace, args: readonly string[]): Running {
    const child = space.spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const running = { child, log: new LogReader(child) };
    this.#processes.set(name, running);
    return running;
  }

  #running(name: string): Running {
    const found = this.#processes.get(name);
    if (found === undefined) throw new Error(`${name} was not started`);
    return found;
  }

  async #ready(name: string, { child, log }: Running): Promise<void> {
    const crashed = new Promise<undefined>((resolve) => child.once('exit', () => resolve(undefined)));
    const line = await Promise.race([log.wait(({ msg }) => msg === 'ready', 20_000), crashed]);
    if (line !== undefined) return;
    const last = [...log.lines.slice(-5).map((each) => JSON.stringify(each)), ...log.other.slice(-10)].join('\n');
    throw new Error(`${name} did not get ready:\n${last}`);
  }

  async #writeConfig(name: string, config: object): Promise<void> {
    await mkdir(join(this.directory, name), { recursive: true, mode: 0o700 });
    await writeFile(this.configOf(name), stringify(config));
  }
}
