import { ipFamily } from '../../core/index.js';
import type { NativeAddon } from '../../internal/native/addon.js';
import { encodeSockaddr } from '../../internal/native/sockaddr.js';

/** Where `sin6_scope_id` is in a sockaddr_in6. */
const scopeOffset = 24;

/** A sockaddr with the interface that a link-local address is of. */
export function scopedSockaddr(ip: string, port: number, scope: number): Buffer {
  const address = encodeSockaddr(ip, port);
  if (ipFamily(ip) === 6) address.writeUInt32LE(scope, scopeOffset);
  return address;
}

/** Binds. Throws a `SystemError`. */
export function bindTo(addon: NativeAddon, fd: number, ip: string, port: number, scope: number): void {
  addon.bind(fd, scopedSockaddr(ip, port, scope));
}
