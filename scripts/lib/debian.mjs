// The Debian packages that tests, demo and addon need, found by what they provide, so that nothing is asked for twice.
import { existsSync } from 'node:fs';
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

/** Each with a command or a file that shows it is there. */
export const debianPackages = [
  { name: 'iproute2', command: 'ip' },
  { name: 'nftables', command: 'nft' },
  { name: 'iptables', command: 'iptables' },
  { name: 'conntrack', command: 'conntrack' },
  { name: 'tcpdump', command: 'tcpdump' },
  { name: 'curl', command: 'curl' },
  { name: 'openssl', command: 'openssl' },
  { name: 'procps', command: 'sysctl' },
  { name: 'util-linux', command: 'unshare' },
  { name: 'bird2', command: 'bird' },
  { name: 'frr', file: '/usr/lib/frr/bgpd' },
  { name: 'gobgpd', command: 'gobgpd' },
  { name: 'keepalived', command: 'keepalived' },
  { name: 'etcd-server', command: 'etcd' },
  { name: 'tshark', command: 'tshark' },
  { name: 'gcc', command: 'gcc' },
  { name: 'libc6-dev', file: '/usr/include/stdio.h' },
  ...crossCompiler,
];

function isThere({ command, file }) {
  return command === undefined ? existsSync(file) : hasCommand(command);
}

/** The missing packages' names. */
export function missingPackages() {
  return debianPackages.filter((entry) => !isThere(entry)).map((entry) => entry.name);
}

/** Installs what is missing. Returns a problem to show, or undefined. */
export function installPackages() {
  if (process.platform !== 'linux') {
    return `this is ${process.platform}: interception and network namespaces need Linux, the rest runs`;
  }
  const missing = missingPackages();
  if (missing.length === 0) return undefined;
  const byHand = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (!hasCommand('apt-get'))
    return `missing: ${missing.join(' ')} (Debian's names); install them with this system's package manager`;
  if (!isRoot) return `missing: ${missing.join(' ')}; as root run: ${byHand}`;

  say(`setup: installing Debian packages: ${missing.join(' ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const wait = ['-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3'];
  try {
    runQuietly('apt-get', ['update', '-q', ...wait], { env });
    runQuietly('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...wait, ...missing], { env });
  } catch (error) {
    return `${error.message}\nby hand: ${byHand}`;
  }
  const left = missingPackages();
  return left.length === 0 ? undefined : `apt-get succeeded, yet these are not found: ${left.join(' ')}`;
}
