import { closeSync, openSync } from 'node:fs';
import type { NetNamespace } from '../../../src/testing/index.js';
import { nativeAddon } from '../../../src/internal/native/addon.js';

/** Runs `make` (synchronously) in `namespace`: sockets that it opens stay there. */
export function inNamespace<T>(namespace: NetNamespace, make: () => T): T {
  const addon = nativeAddon('a test');
  const own = openSync('/proc/thread-self/ns/net', 'r');
  const other = openSync(namespace.path, 'r');
  addon.setns(other);
  try {
    return make();
  } finally {
    addon.setns(own);
    closeSync(own);
    closeSync(other);
  }
}
