import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';

/** Which processes live in a network namespace, and whether the owner of a lab is still the same process. */

/** Ids of all processes in any of the namespaces mounted at `paths`, without this process. */
export function processesIn(paths: readonly string[]): number[] {
  const inodes = new Set<string>();
  for (const path of paths) {
    try {
      inodes.add(`net:[${String(statSync(path).ino)}]`);
    } catch {
      // Already gone.
    }
  }
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    try {
      if (inodes.has(readlinkSync(`/proc/${entry}/ns/net`))) found.push(Number(entry));
    } catch {
      // Ended meanwhile, or not ours to look at.
    }
  }
  return found;
}

/** When `pid` started, in clock ticks since boot: with it a process id is never mistaken for a later process's. */
export function processStartTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The second field is the command in parentheses, which may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
