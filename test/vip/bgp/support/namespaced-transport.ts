import { closeSync, openSync } from 'node:fs';
import type { NetNamespace } from 'meshwright/testing';
import { nativeAddon } from '../../../../src/internal/native/addon.js';
import { TcpTransport } from '../../../../src/vip/bgp/transport/tcp-transport.js';
import type {
  BgpDialCallbacks,
  BgpDialOptions,
  BgpListener,
  BgpListenOptions,
  BgpTransport,
  TcpHints,
} from '../../../../src/vip/bgp/transport/transport.js';

/** Runs `action` with this thread in the namespace: sockets that it makes stay there. */
export function inNamespace<T>(namespace: NetNamespace, action: () => T): T {
  const addon = nativeAddon('a test');
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const there = openSync(namespace.path, 'r');
  try {
    addon.setns(there);
    return action();
  } finally {
    addon.setns(home);
    closeSync(home);
    closeSync(there);
  }
}

/** The real transport, with its sockets in a namespace of a lab. */
export class NamespacedTransport implements BgpTransport {
  readonly #namespace: NetNamespace;
  readonly #inner = new TcpTransport();

  constructor(namespace: NetNamespace) {
    this.#namespace = namespace;
  }

  dial(options: BgpDialOptions, callbacks: BgpDialCallbacks): { cancel(): void } {
    return inNamespace(this.#namespace, () => this.#inner.dial(options, callbacks));
  }

  listen(options: BgpListenOptions): Promise<BgpListener> {
    return inNamespace(this.#namespace, () => this.#inner.listen(options));
  }

  hints(): TcpHints | undefined {
    return inNamespace(this.#namespace, () => this.#inner.hints());
  }
}
