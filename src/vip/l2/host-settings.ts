import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/** Reads one number under /proc/sys/net, of the namespace that this thread is in; undefined where it does not exist. */
export type ReadSetting = (path: string) => number | undefined;

export const readSetting: ReadSetting = (path) => {
  try {
    // Synchronously: the threads that do asynchronous reads may be in another network namespace.
    const value = Number(readFileSync(`/proc/sys/net/${path}`, 'utf8'));
    return Number.isInteger(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

/** Whether this machine forwards IPv6 from `name`, and so calls itself a router in what it advertises there. */
export function isIpv6Router(name: string, read: ReadSetting = readSetting): boolean {
  return (read(`ipv6/conf/${name}/forwarding`) ?? 0) !== 0;
}

/** A kernel setting of this machine under which an address on one interface is answered for, or asked with, on another. */
export interface ArpSettingFinding {
  readonly setting: 'arp_ignore' | 'arp_announce';
  /** The one in force: the larger of `conf/all` and the interface's own. */
  readonly value: number;
  readonly recommended: number;
}

/**
 * What on a machine with several networks makes virtual IPs unreliable. With `arp_ignore` 0 the kernel answers ARP for an
 * address on every interface, with each one's own MAC; with `arp_announce` 0 it may ask with a virtual IP as the sender,
 * which moves neighbours' entries to another interface. Empty on a machine with one interface.
 */
export function arpSettingFindings(
  name: string,
  read: ReadSetting = readSetting,
  interfaces: readonly string[] = addressedInterfaces(),
): readonly ArpSettingFinding[] {
  if (!interfaces.some((other) => other !== name)) return [];
  const wanted = [
    { setting: 'arp_ignore', recommended: 1 },
    { setting: 'arp_announce', recommended: 2 },
  ] as const;
  return wanted.flatMap(({ setting, recommended }) => {
    const all = read(`ipv4/conf/all/${setting}`);
    const own = read(`ipv4/conf/${name}/${setting}`);
    if (all === undefined && own === undefined) return [];
    const value = Math.max(all ?? 0, own ?? 0);
    return value >= recommended ? [] : [{ setting, value, recommended }];
  });
}

/** Interfaces with an IPv4 address, without loopback. */
function addressedInterfaces(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).some(({ family, internal }) => family === 'IPv4' && !internal) ? [name] : [],
  );
}
