import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { NetNamespace } from 'meshwright/testing';

/** Where BIRD puts its routes: it knows nothing of nexthop groups, so what it has chosen is carried over to the main table. */
export const birdTable = 100;
const firstGroupId = 1000;
const buckets = 1024;

/**
 * A router's resilient hashing, as hardware has it: the paths of each route in `birdTable` are those of a nexthop group of
 * type `resilient`, in which a flow keeps its node as long as that is in the group.
 */
export class ResilientPaths implements Disposable {
  readonly #router: NetNamespace;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #groups = new Map<string, { readonly id: number; readonly paths: string }>();
  readonly #monitor: ChildProcess;
  #working: Promise<void> | undefined;
  #dirty = false;

  private constructor(router: NetNamespace, ids: ReadonlyMap<string, number>) {
    this.#router = router;
    this.#ids = ids;
    this.#monitor = router.spawn('ip', ['monitor', 'route'], { stdio: ['ignore', 'pipe', 'ignore'] });
    createInterface({ input: this.#monitor.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.includes(`table ${String(birdTable)}`)) this.#wake();
    });
  }

  static async create(router: NetNamespace, nodes: readonly string[], device: string): Promise<ResilientPaths> {
    const ids = new Map(nodes.map((ip, index) => [ip, index + 1]));
    for (const [ip, id] of ids) await router.ip('nexthop', 'add', 'id', String(id), 'via', ip, 'dev', device);
    return new ResilientPaths(router, ids);
  }

  [Symbol.dispose](): void {
    this.#monitor.kill('SIGKILL');
  }

  #wake(): void {
    this.#dirty = true;
    this.#working ??= this.#carry().finally(() => (this.#working = undefined));
  }

  async #carry(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false;
      const shown = JSON.parse(
        await this.#router.ip('-json', 'route', 'show', 'table', String(birdTable)).catch(() => '[]'),
      ) as readonly {
        dst: string;
        gateway?: string;
        nexthops?: readonly { gateway: string }[];
      }[];
      // One that is gone is left as it is: BIRD may be about to put it back with other paths.
      for (const { dst, gateway, nexthops } of shown) {
        await this.#set(dst, nexthops?.map((each) => each.gateway) ?? [gateway ?? '']);
      }
    }
  }

  async #set(address: string, nodes: readonly string[]): Promise<void> {
    const known = this.#groups.get(address);
    const paths = nodes
      .map((ip) => this.#ids.get(ip) ?? 0)
      .toSorted((a, b) => a - b)
      .join('/');
    if (known?.paths === paths) return;
    const id = known?.id ?? firstGroupId + this.#groups.size;
    this.#groups.set(address, { id, paths });
    const group = ['id', String(id), 'group', paths, 'type', 'resilient', 'buckets', String(buckets)];
    // Buckets of a node that is back are taken from the others once they have been idle.
    await this.#router.ip('nexthop', 'replace', ...group, 'idle_timer', '1', 'unbalanced_timer', '0');
    if (known === undefined) await this.#router.ip('route', 'replace', address, 'nhid', String(id));
  }
}
