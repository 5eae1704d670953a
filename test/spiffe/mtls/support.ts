import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { LatestValueCell } from '../../../src/core/index.js';
import { authorizeMemberOf } from '../../../src/spiffe/index.js';
import type { BundleSet, MtlsEvent, MtlsOptions, TrustBundle, X509Svid } from '../../../src/spiffe/index.js';
import type { TestCa } from '../fakes.js';

export const clientId = 'spiffe://cluster.local/ns/shop/sa/web';
export const serverId = 'spiffe://cluster.local/ns/shop/sa/orders';

/** One end, whose identity and trust can be changed, with what it reported. */
export function end(ca: TestCa, id: string, more: Partial<MtlsOptions> = {}) {
  const svid = new LatestValueCell<X509Svid>(ca.svid(id));
  const bundle = new LatestValueCell<TrustBundle | BundleSet>(ca.bundle);
  const events: MtlsEvent[] = [];
  const options: MtlsOptions = {
    svid,
    bundle: bundle as LatestValueCell<TrustBundle>,
    authorizePeer: authorizeMemberOf('cluster.local'),
    observer: (event) => void events.push(event),
    ...more,
  };
  return { svid, bundle, events, options, renew: (ttlMs?: number) => svid.set(ca.svid(id, { ttlMs })) };
}

/** Binds, and takes the server and its connections away when the test ends. */
export async function listening(server: Server): Promise<number> {
  const sockets = new Set<TLSSocket>();
  server.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Lets I/O run until `done`. */
export async function until(done: () => boolean, what = done.toString()): Promise<void> {
  const deadline = performance.now() + 8_000;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`expected ${what} within 8 s`);
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
}
