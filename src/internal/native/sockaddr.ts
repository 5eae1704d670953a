import { endianness } from 'node:os';
import { ipBytes, ipFamily, parseIp } from '../../core/index.js';
import { AF_INET, AF_INET6 } from './constants.js';

/** `struct sockaddr_in` and `sockaddr_in6`: family in host order, port in network order. */

const littleEndian = endianness() === 'LE';

/** Encodes an address. Port 0 means any. `family` 6 with an IPv4 address gives the IPv4-mapped form. */
export function encodeSockaddr(ip: string, port: number, family = ipFamily(parseIp(ip))): Buffer {
  const bytes = ipBytes(ip);
  if (family === 4) {
    const out = Buffer.alloc(16);
    writeFamily(out, AF_INET);
    out.writeUInt16BE(port, 2);
    out.set(bytes, 4);
    return out;
  }
  const out = Buffer.alloc(28);
  writeFamily(out, AF_INET6);
  out.writeUInt16BE(port, 2);
  if (bytes.length === 4) {
    out.set([0xff, 0xff], 18);
    out.set(bytes, 20);
  } else {
    out.set(bytes, 8);
  }
  return out;
}

/** Decodes either kind; the IP is canonical (IPv4-mapped folded). Undefined for another family or a short buffer. */
export function decodeSockaddr(bytes: Buffer): { readonly ip: string; readonly port: number } | undefined {
  if (bytes.length < 8) return undefined;
  const family = littleEndian ? bytes.readUInt16LE(0) : bytes.readUInt16BE(0);
  const port = bytes.readUInt16BE(2);
  if (family === AF_INET) return { ip: ipText(bytes.subarray(4, 8)), port };
  if (family === AF_INET6 && bytes.length >= 24) return { ip: ipText(bytes.subarray(8, 24)), port };
  return undefined;
}

/** Canonical text of 4 or 16 bytes. */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return parseIp(bytes.join('.'));
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0)).toString(16),
  );
  return parseIp(groups.join(':'));
}

function writeFamily(out: Buffer, family: number): void {
  if (littleEndian) out.writeUInt16LE(family, 0);
  else out.writeUInt16BE(family, 0);
}
