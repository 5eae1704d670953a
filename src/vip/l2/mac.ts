import { VipError } from '../errors.js';

/** Ethernet addresses as text: six lower-case pairs, `02:00:00:00:00:01`. */

export const broadcastMac = 'ff:ff:ff:ff:ff:ff';
export const zeroMac = '00:00:00:00:00:00';

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The six bytes. Throws `VIP_CONFIGURATION_INVALID` for anything else. */
export function macBytes(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new VipError(
      'VIP_CONFIGURATION_INVALID',
      `expected an Ethernet address such as 02:00:00:00:00:01, got ${JSON.stringify(text.slice(0, 40))}`,
    );
  }
  return Uint8Array.from(text.split(':'), (pair) => Number.parseInt(pair, 16));
}

/** Whether it can be the address of one station: neither a group address nor all zero. */
export function isStationMac(bytes: Uint8Array): boolean {
  return bytes.length === 6 && ((bytes[0] ?? 1) & 1) === 0 && bytes.some((byte) => byte !== 0);
}

/** Where Ethernet carries an IPv6 multicast destination (RFC 2464 section 7). */
export function ipv6MulticastMac(destination: Uint8Array): string {
  return macText(Uint8Array.of(0x33, 0x33, ...destination.subarray(12, 16)));
}
