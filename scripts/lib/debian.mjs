// The Debian packages that tests, demo and addon need, found by what they provide, so that nothing is asked for twice.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { hasCommand, isRoot, runQuietly, say } from './process.mjs';

const crossCompiler =
  process.arch === 'arm64'
    ? [
        { name: 'gcc-x86-64-linux-gnu', command: 'x86_64-linux-gnu-gcc' },
        { name: 'libc6-dev-amd64-cross', file: '/usr/x86_64-linux-gnu/include/stdio.h' },
      ]
    : [
        { name: 'gcc-aarch64-linux-gnu', command: 'aarch64-linux-gnu-gcc' },
        { name: 'libc6-dev-arm64-cross', file: '/usr/aarch64-linux-gnu/include/stdio.h' },
      ];

/** Each with a command or a file that shows it is there; `also` are other commands of it that are used. */
export const neededByAll = [
  { name: 'iproute2', command: 'ip', also: ['bridge'] },
  { name: 'nftables', command: 'nft' },
  { name: 'iptables', command: 'iptables', also: ['iptables-legacy'] },
  { name: 'conntrack', command: 'conntrack' },
  { name: 'tcpdump', command: 'tcpdump' },
  { name: 'curl', command: 'curl' },
  { name: 'openssl', command: 'openssl' },
  { name: 'procps', command: 'sysctl' },
  { name: 'util-linux', command: 'unshare', also: ['setpriv', 'nsenter'] },
  { name: 'gcc', command: 'gcc' },
  { name: 'libc6-dev', file: '/usr/include/stdio.h' },
  ...crossCompiler,
];

/** What tests and benchmarks hold ours against; `service` is the unit that the package would start by itself. */
export const peers = [
  { name: 'bird2', command: 'bird', also: ['birdc'], service: 'bird' },
  { name: 'frr', file: '/usr/lib/frr/bgpd', also: ['vtysh'], service: 'frr' },
  { name: 'gobgpd', command: 'gobgpd', also: ['gobgp'], service: 'gobgpd' },
  { name: 'keepalived', command: 'keepalived', service: 'keepalived' },
  { name: 'etcd-server', command: 'etcd', service: 'etcd' },
  { name: 'etcd-client', command: 'etcdctl' },
  { name: 'tshark', command: 'tshark', also: ['dumpcap'] },
  { name: 'arping', command: 'arping' },
];

function isThere({ command, file }) {
  return command === undefined ? existsSync(file) : hasCommand(command);
}

/** Those of `packages` that are not there. */
function missingOf(packages) {
  return packages.filter((entry) => !isThere(entry));
}

const policyFile = '/usr/sbin/policy-rc.d';

/** Runs `install` so that no package starts a service meanwhile; restores the machine's own policy file. */
function withoutStartingServices(install) {
  if (existsSync(policyFile)) return install();
  writeFileSync(policyFile, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policyFile, { force: true });
  }
}

/** Nor at the next boot: the tests run these programs themselves, in namespaces of their own. */
function disableServices(packages) {
  for (const { service } of packages) {
    if (service === undefined || !existsSync('/run/systemd/system')) continue;
    try {
      runQuietly('systemctl', ['disable', '--quiet', service]);
    } catch {
      say(`setup: ${service} could not be disabled; it starts at the next boot`);
    }
  }
}

/** Installs what is missing, with `withPeers` also the programs that tests and benchmarks run against. Returns a problem to show, or undefined. */
export function installPackages({ withPeers = false } = {}) {
  if (process.platform !== 'linux') {
    return `this is ${process.platform}: interception and network namespaces need Linux, the rest runs`;
  }
  const wanted = withPeers ? [...neededByAll, ...peers] : neededByAll;
  const missing = missingOf(wanted);
  if (missing.length === 0) return undefined;
  const names = missing.map(({ name }) => name);
  const byHand = `apt-get update && apt-get install -y --no-install-recommends ${names.join(' ')}`;
  if (!hasCommand('apt-get'))
    return `missing: ${names.join(' ')} (Debian's names); install them with this system's package manager`;
  if (!isRoot) return `missing: ${names.join(' ')}; as root run: ${byHand}`;

  say(`setup: installing Debian packages: ${names.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  try {
    runQuietly('apt-get', ['update', '-q', ...wait], { env });
    withoutStartingServices(() =>
      runQuietly('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...wait, ...names], { env }),
    );
    disableServices(missing);
  } catch (error) {
    return `${error.message}\nby hand: ${byHand}`;
  }
  const left = missingOf(wanted).map(({ name }) => name);
  return left.length === 0 ? undefined : `apt-get succeeded, yet these are not found: ${left.join(' ')}`;
}
