import { once } from 'node:events';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';

const agentProgram = fileURLToPath(new URL('./vip-agent.ts', import.meta.url));

/** A `VipManager` in a process of its own. */
export class VipAgent {
  readonly child: ChildProcess;
  /** How many addresses it announces, and since when (ms after it was ready). */
  announcing = 0;
  announcingMs = 0;
  /** How long `apply` took. */
  appliedMs: number | undefined;
  readyMib = 0;
  /** Connections were open when their time was over. */
  late = false;

  private constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const [what, first, second] = line.split(' ');
      if (what === 'ready') this.readyMib = Number(first);
      if (what === 'applied') this.appliedMs = Number(first);
      if (what === 'quiesced' && first !== 'quiet') this.late = true;
      if (what === 'announcing') [this.announcing, this.announcingMs] = [Number(first), Number(second)];
    });
  }

  /** Resolves when its manager is made. */
  static async start(namespace: NetNamespace, options: object): Promise<VipAgent> {
    const child = namespace.spawn(process.execPath, ['--import', 'tsx', agentProgram, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const agent = new VipAgent(child);
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    return agent;
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill(signal);
    await ended;
  }
}
