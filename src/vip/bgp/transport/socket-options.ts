import { ipFamily } from '../../../core/index.js';
import type { NativeAddon } from '../../../internal/native/addon.js';
import { SOL_IP, SOL_IPV6 } from '../../../internal/native/constants.js';
import { isSystemError } from '../../../internal/native/errors.js';
import { encodeSockaddr } from '../../../internal/native/sockaddr.js';
import type { BgpTtl } from './transport.js';

/** Socket options that node:net has no words for: TTL, GTSM (RFC 5082), TCP MD5 signatures (RFC 2385). */

const SOL_TCP = 6;
const TCP_MD5SIG = 14;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MINHOPCOUNT = 73;

/** `struct tcp_md5sig`: sockaddr_storage, flags, prefix length, key length, interface index, key. */
const md5sigBytes = 216;
const keyLengthOffset = 130;
const keyOffset = 136;

/** The longest key the kernel takes, in bytes. */
export const maxPasswordBytes = 80;

/** For a connection to or from `family`; before connect on a dialling socket, at accept on the other. */
export function applyTtl(addon: NativeAddon, fd: number, family: 4 | 6, { ttl, minTtl }: BgpTtl): void {
  if (family === 4) {
    addon.setsockopt(fd, SOL_IP, IP_TTL, ttl);
    if (minTtl !== undefined) addon.setsockopt(fd, SOL_IP, IP_MINTTL, minTtl);
  } else {
    addon.setsockopt(fd, SOL_IPV6, IPV6_UNICAST_HOPS, ttl);
    if (minTtl !== undefined) addon.setsockopt(fd, SOL_IPV6, IPV6_MINHOPCOUNT, minTtl);
  }
}

/** The key for everything to and from `address`; undefined takes it away. Throws the `SystemError` of the call. */
export function applyPassword(addon: NativeAddon, fd: number, address: string, password: string | undefined): void {
  const key = Buffer.from(password ?? '', 'utf8');
  const option = Buffer.alloc(md5sigBytes);
  option.set(encodeSockaddr(address, 0, ipFamily(address)), 0);
  option.writeUInt16LE(key.length, keyLengthOffset);
  option.set(key, keyOffset);
  try {
    addon.setsockopt(fd, SOL_TCP, TCP_MD5SIG, option);
  } catch (error) {
    // There was none to take away.
    if (password !== undefined || !isSystemError(error, 'ENOENT')) throw error;
  } finally {
    option.fill(0);
    key.fill(0);
  }
}
