import { ipBytes, tryParseIp } from '../../core/index.js';
import { VipError } from '../errors.js';

/** The canonical form of an address that one station on a link can have. Throws `VIP_CONFIGURATION_INVALID`. */
export function claimableAddress(text: string): string {
  const ip = tryParseIp(text);
  const why = ip === undefined ? 'it does not parse' : whyNot(ipBytes(ip));
  if (ip === undefined || why !== undefined) {
    throw new VipError(
      'VIP_CONFIGURATION_INVALID',
      `expected the IPv4 or IPv6 address of one station, got ${JSON.stringify(String(text).slice(0, 60))}: ${String(why)}`,
    );
  }
  return ip;
}

function whyNot(bytes: Uint8Array): string | undefined {
  const [first = 0] = bytes;
  if (bytes.length === 4) {
    if (first === 0) return 'it means "this network"';
    if (first === 127) return 'it is of the loopback';
    return first >= 224 ? 'it is multicast, reserved or broadcast' : undefined;
  }
  if (first === 0xff) return 'it is multicast';
  if (bytes.subarray(0, 15).every((byte) => byte === 0) && (bytes[15] ?? 0) <= 1)
    return 'it is unspecified or of the loopback';
  return undefined;
}
