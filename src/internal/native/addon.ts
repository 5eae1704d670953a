import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NativeError } from './errors.js';

/**
 * The native addon (native/*.c), loaded at the first use of a feature that needs it and never at import.
 *
 * Every function throws a `SystemError` (code, errno, syscall) when the system call fails, and a TypeError for a wrong
 * argument. Descriptors are plain numbers owned by the caller.
 */
export interface NativeAddon {
  /** A new descriptor, always non-blocking and close-on-exec. */
  socket(domain: number, type: number, protocol: number): number;
  close(fd: number): void;
  bind(fd: number, address: Uint8Array): void;
  /** True when connected at once, false while in progress. */
  connect(fd: number, address: Uint8Array): boolean;
  getsockname(fd: number): Buffer;
  setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): void;
  /** At most `maxLength` (up to 1024) bytes of the option's value. */
  getsockopt(fd: number, level: number, option: number, maxLength: number): Buffer;
  /** Attaches a classic BPF program: 1 to 4096 instructions of 8 bytes (`struct sock_filter`). */
  attachFilter(fd: number, instructions: Uint8Array): void;
  /** Moves the calling thread to the network namespace behind `fd`. Sockets keep the namespace they were made in. */
  setns(fd: number): void;
  /** Bytes sent, or -1 when it would block. */
  sendto(fd: number, data: Uint8Array, address?: Uint8Array): number;
  /** One message, or undefined when it would block. */
  recvmsg(fd: number, buffer: Uint8Array): NativeMessage | undefined;
  /** Watches a descriptor on this thread's event loop. `events`: 1 readable, 2 writable. `status` is 0, or a negative errno when the socket has an error, which reading takes off. */
  poll(fd: number, events: number, callback: (status: number, events: number) => void): NativePoll;
  /** No callback runs after it returns; close the descriptor only afterwards. */
  pollClose(poll: NativePoll): void;
  pollRef(poll: NativePoll): void;
  pollUnref(poll: NativePoll): void;
}

declare const pollBrand: unique symbol;
export interface NativePoll {
  readonly [pollBrand]: true;
}

export interface NativeMessage {
  /** Bytes written to the buffer. */
  readonly length: number;
  /** The message was longer than the buffer. */
  readonly truncated: boolean;
  /** The sender, as a sockaddr. */
  readonly address: Buffer;
  /** IP_TTL or IPV6_HOPLIMIT, where the socket asks for it. */
  readonly ttl?: number;
  /** From IP_PKTINFO or IPV6_PKTINFO. */
  readonly interfaceIndex?: number;
  /** From IP_ORIGDSTADDR or IPV6_ORIGDSTADDR, as a sockaddr. */
  readonly originalDestination?: Buffer;
}

let loaded: NativeAddon | undefined;

/**
 * The addon, for `feature` (a noun phrase that names in the error what cannot work without it).
 *
 * Throws `NATIVE_PLATFORM_UNSUPPORTED` or `NATIVE_ADDON_MISSING`.
 */
export function nativeAddon(feature: string): NativeAddon {
  loaded ??= load(feature, process.platform, process.arch);
  return loaded;
}

/** Whether the addon loads here; for choosing a fallback, not instead of handling the error. */
export function isNativeAddonAvailable(): boolean {
  try {
    nativeAddon('a check');
    return true;
  } catch {
    return false;
  }
}

/** Exported for tests; use `nativeAddon`. */
export function load(feature: string, platform: string, arch: string, from: string = import.meta.url): NativeAddon {
  if (platform !== 'linux') {
    throw new NativeError(
      'NATIVE_PLATFORM_UNSUPPORTED',
      `${feature} needs Meshwright's native addon, which exists for Linux only; this is ${platform}`,
      { fields: { feature, platform } },
    );
  }
  const root = packageRoot(dirname(fileURLToPath(from)));
  const path = root === undefined ? undefined : join(root, 'prebuilds', `${platform}-${arch}`, 'meshwright.node');
  try {
    if (path === undefined)
      throw new Error('the package directory was not found; was the package bundled into another file?');
    return createRequire(from)(path) as NativeAddon;
  } catch (cause) {
    throw new NativeError(
      'NATIVE_ADDON_MISSING',
      `${feature} needs Meshwright's native addon, which could not be loaded for ${platform}-${arch}; ` +
        'in a checkout run `npm run build:native`',
      { cause, fields: { feature, platform, arch, path } },
    );
  }
}

/** The nearest directory above whose package.json is this package's: the same from src/ and from any chunk in dist/. */
export function packageRoot(start: string): string | undefined {
  for (let directory = start; ; directory = dirname(directory)) {
    try {
      const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { name?: unknown };
      if (manifest.name === 'meshwright') return directory;
    } catch {
      // No package.json here, or not one that can be read: look further up.
    }
    if (dirname(directory) === directory) return undefined;
  }
}
