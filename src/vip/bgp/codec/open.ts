import { ipBytes } from '../../../core/index.js';
import { CapabilityReader, encodeCapabilities } from './capabilities.js';
import type { BgpCapabilities } from './capabilities.js';
import { asTrans, bgpVersion, messageTypes } from './constants.js';
import { accepted, asBuffer, refused } from './decoded.js';
import type { BgpDecoded } from './decoded.js';
import { encodeMessage } from './framing.js';
import { notification } from './notification.js';

/** OPEN (RFC 4271 section 4.2): who a peer says it is. */
export interface BgpOpen {
  /** The peer's AS: of the four-octet capability where it is there, else of the field of two octets. */
  readonly as: number;
  /** 0 (no keepalives, no hold timer) or 3 to 65535. */
  readonly holdTimeSeconds: number;
  /** The BGP identifier as a dotted quad. */
  readonly routerId: string;
  readonly capabilities: BgpCapabilities;
}

const fixedBytes = 10;
const capabilitiesParameter = 2;
/** RFC 9072: the lengths that follow have two octets. */
const extendedParameters = 255;

/** Decodes the body of an OPEN; what is refused gets the NOTIFICATION of RFC 4271 section 6.2. */
export function decodeOpen(bytes: Uint8Array): BgpDecoded<BgpOpen> {
  const body = asBuffer(bytes);
  if (body.length < fixedBytes) return refused('message-length', notification(1, 2));
  if (body[0] !== bgpVersion) return refused('open-version', notification(2, 1, Uint8Array.of(0, bgpVersion)));
  const holdTimeSeconds = body.readUInt16BE(3);
  const routerId = body.subarray(5, 9).join('.');
  const reader = new CapabilityReader();
  const failure = readParameters(body, reader);
  if (failure !== undefined) return failure;
  const capabilities = reader.result;
  const as = capabilities.fourOctetAs ?? body.readUInt16BE(1);
  if (as === 0) return refused('open-peer-as', notification(2, 2));
  if (holdTimeSeconds === 1 || holdTimeSeconds === 2) return refused('open-hold-time', notification(2, 6));
  if (routerId === '0.0.0.0') return refused('open-router-id', notification(2, 3));
  return accepted({ as, holdTimeSeconds, routerId, capabilities });
}

function readParameters(body: Buffer, reader: CapabilityReader): BgpDecoded<never> | undefined {
  const malformed = refused('open-parameters-malformed', notification(2, 0));
  const shortLength = body[9] ?? 0;
  const extended = shortLength !== 0 && body[10] === extendedParameters;
  if (extended && body.length < 13) return malformed;
  const length = extended ? body.readUInt16BE(11) : shortLength;
  const start = extended ? 13 : fixedBytes;
  if (body.length !== start + length) return malformed;
  for (let at = start; at < body.length;) {
    const headLength = extended ? 3 : 2;
    if (at + headLength > body.length) return malformed;
    const valueLength = extended ? body.readUInt16BE(at + 1) : (body[at + 1] ?? 0);
    const end = at + headLength + valueLength;
    if (end > body.length) return malformed;
    if (body[at] !== capabilitiesParameter) return refused('open-parameter-unsupported', notification(2, 4));
    if (!reader.read(body.subarray(at + headLength, end))) {
      return refused('open-capability-malformed', notification(2, 0));
    }
    at = end;
  }
  return undefined;
}

/** Encodes a whole OPEN. */
export function encodeOpen(open: BgpOpen): Buffer {
  const capabilities = encodeCapabilities(open.capabilities);
  const parameters =
    capabilities.length === 0
      ? capabilities
      : Buffer.concat([Buffer.from([capabilitiesParameter, capabilities.length]), capabilities]);
  const fixed = Buffer.alloc(fixedBytes);
  fixed[0] = bgpVersion;
  fixed.writeUInt16BE(open.as > 0xffff ? asTrans : open.as, 1);
  fixed.writeUInt16BE(open.holdTimeSeconds, 3);
  fixed.set(ipBytes(open.routerId), 5);
  fixed[9] = parameters.length;
  return encodeMessage(messageTypes.open, fixed, parameters);
}
