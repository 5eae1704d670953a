import type { ResolvedOptions } from '../options.js';

/**
 * Writes out a principal pattern for every name of our trust domain: one that names the mesh's trust domain, an alias,
 * or `cluster.local` (which always means the local one) stands for all of them.
 */
export function trustDomainAliases({
  trustDomain = 'cluster.local',
  trustDomainAliases: aliases,
}: ResolvedOptions): (pattern: string) => readonly string[] {
  const names = [trustDomain, ...aliases.filter((alias) => alias !== trustDomain)];
  const local = new Set([...names, 'cluster.local']);
  if (local.size === 1) return (pattern) => [pattern];
  return (pattern) => {
    const slash = pattern.indexOf('/');
    if (slash < 0 || !local.has(pattern.slice(0, slash))) return [pattern];
    return names.map((name) => name + pattern.slice(slash));
  };
}
