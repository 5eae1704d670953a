import { readFile } from 'node:fs/promises';
import { TproxyError } from './errors.js';
import type { InterceptionMode } from './rule-backend.js';
import type { Topology } from './topology.js';

export interface ModeFacts {
  readonly wanted: 'auto' | InterceptionMode;
  readonly topology: Topology;
  readonly bridgeNetfilterIsOn: () => Promise<boolean>;
  readonly kernelHasTproxy: () => Promise<boolean>;
}

/** TPROXY unless something is in its way; then REDIRECT, or `TPROXY_MODE_UNAVAILABLE` when TPROXY was asked for by name. */
export async function chooseMode(facts: ModeFacts): Promise<InterceptionMode> {
  if (facts.wanted === 'redirect') return 'redirect';
  const obstacle = await obstacleToTproxy(facts);
  if (obstacle === undefined) return 'tproxy';
  if (facts.wanted === 'auto') return 'redirect';
  throw new TproxyError('TPROXY_MODE_UNAVAILABLE', `TPROXY cannot work here: ${obstacle}`);
}

async function obstacleToTproxy(facts: ModeFacts): Promise<string | undefined> {
  // The socket that TPROXY chose is lost when the frame goes back through the bridge: connections time out.
  if (facts.topology.isBridged && (await facts.bridgeNetfilterIsOn())) {
    return 'pods are on a bridge and net.bridge.bridge-nf-call-iptables (or -ip6tables) is 1';
  }
  return (await facts.kernelHasTproxy()) ? undefined : 'the kernel has no TPROXY or socket match for this backend';
}

/** Whether bridged frames pass the IP hooks of this network namespace. */
export async function bridgeNetfilterIsOn(): Promise<boolean> {
  for (const name of ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables']) {
    try {
      if ((await readFile(`/proc/sys/net/bridge/${name}`, 'utf8')).trim() !== '0') return true;
    } catch {
      // br_netfilter is not loaded.
    }
  }
  return false;
}
