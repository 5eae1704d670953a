/**
 * What a test needs of the machine, said where the test is declared.
 *
 * ```ts
 * describeRequiring({ netns: true, commands: ['nft'], native: true }, 'Interception', () => { … });
 * testRequiring({ commands: ['openssl'] }, 'verifies with openssl', async () => { … });
 * ```
 *
 * Where something is missing the test is skipped with the reason in its title, `… [skipped: needs root]`. Under
 * MESHWRIGHT_REQUIRE_ALL=1 (continuous integration) it fails instead, so nothing is ever left out unseen.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'vitest';

export interface Requirements {
  /** User id 0. */
  readonly root?: boolean | undefined;
  /** Leave to make network namespaces: Linux, user id 0, `ip`, and a kernel that does not refuse. Implies `root`. */
  readonly netns?: boolean | undefined;
  /** Programs that must be on the PATH (or in the sbin folders, which plain users lack on Debian). */
  readonly commands?: readonly string[] | undefined;
  /** The native addon, built for this machine. */
  readonly native?: boolean | undefined;
}

/** True when a missing requirement is a failure and not a skip. */
export const requireAll = process.env['MESHWRIGHT_REQUIRE_ALL'] === '1';

const repositoryRoot = fileURLToPath(new URL('../../', import.meta.url));
const isRoot = process.getuid?.() === 0;
let netnsRefusal: { readonly reason: string | undefined } | undefined;

function hasCommand(name: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasNativeAddon(): boolean {
  try {
    const folder = join(repositoryRoot, 'prebuilds', `${process.platform}-${process.arch}`);
    return readdirSync(folder).some((name) => name.endsWith('.node'));
  } catch {
    return false;
  }
}

/** Asks the kernel once: being user 0 in a container is not leave to make namespaces. */
function whyNoNetns(): string | undefined {
  if (process.platform !== 'linux') return 'Linux';
  if (!isRoot) return 'root';
  if (!hasCommand('ip')) return 'the command ip';
  netnsRefusal ??= {
    reason: tryUnshare() ? undefined : 'leave to make network namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN)',
  };
  return netnsRefusal.reason;
}

function tryUnshare(): boolean {
  try {
    execFileSync('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'ignore', timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** What is missing, as `needs root, the command nft`; undefined when everything is there. */
export function missingRequirement(needs: Requirements): string | undefined {
  const missing = new Set<string>();
  if (needs.root === true && !isRoot) missing.add('root');
  if (needs.netns === true) {
    const reason = whyNoNetns();
    if (reason !== undefined) missing.add(reason);
  }
  for (const command of needs.commands ?? []) if (!hasCommand(command)) missing.add(`the command ${command}`);
  if (needs.native === true && !hasNativeAddon()) missing.add('the native addon (npm run build:native)');
  return missing.size === 0 ? undefined : `needs ${[...missing].join(', ')}`;
}

function failure(name: string, reason: string): Error {
  return new Error(`"${name}" ${reason}, and MESHWRIGHT_REQUIRE_ALL=1 allows no skipped test. Run "npm test" as root.`);
}

/** `describe`, for tests that need something of the machine. */
export function describeRequiring(needs: Requirements, name: string, body: () => void): void {
  const reason = missingRequirement(needs);
  if (reason === undefined) {
    describe(name, body);
  } else if (requireAll) {
    describe(name, () => {
      test('finds what it needs', () => {
        throw failure(name, reason);
      });
    });
  } else {
    // The body is collected and not run, so the count of skipped tests is the real one.
    describe.skip(`${name} [skipped: ${reason}]`, body);
  }
}

/** `test`, for one test that needs something of the machine. */
export function testRequiring(
  needs: Requirements,
  name: string,
  body: () => void | Promise<void>,
  timeoutMs?: number,
): void {
  const reason = missingRequirement(needs);
  if (reason === undefined) {
    test(name, timeoutMs === undefined ? {} : { timeout: timeoutMs }, body);
  } else if (requireAll) {
    test(name, () => {
      throw failure(name, reason);
    });
  } else {
    test.skip(`${name} [skipped: ${reason}]`, body);
  }
}
