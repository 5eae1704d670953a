import { closeSync, openSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import { BfdService } from '../../../src/vip/bfd/index.js';
import type { BfdServiceOptions } from '../../../src/vip/bfd/index.js';

/** A service whose thread, and so its sockets, live in `namespace`: a thread inherits the namespace of its maker. */
export function bfdIn(namespace: NetNamespace, options: BfdServiceOptions = {}): Promise<BfdService> {
  const addon = nativeAddon('a test');
  const own = openSync('/proc/thread-self/ns/net', 'r');
  const other = openSync(namespace.path, 'r');
  addon.setns(other);
  try {
    // The thread is made before the first await.
    return BfdService.create(options);
  } finally {
    addon.setns(own);
    closeSync(own);
    closeSync(other);
  }
}
