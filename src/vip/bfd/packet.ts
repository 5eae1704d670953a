/**
 * The BFD control packet (RFC 5880 section 4.1): 24 bytes, all of them decoded. Authentication is not supported; a packet
 * that carries it is refused, as a session without it must (section 6.8.6).
 */

export type BfdState = 'admin-down' | 'down' | 'init' | 'up';

/** The state by its number on the wire. */
const states: readonly BfdState[] = ['admin-down', 'down', 'init', 'up'];

export interface BfdPacket {
  readonly state: BfdState;
  /** 0 to 31: why the sender last left Up. Names by `describeDiagnostic`. */
  readonly diagnostic: number;
  readonly poll: boolean;
  readonly final: boolean;
  readonly controlPlaneIndependent: boolean;
  readonly demand: boolean;
  /** 1 to 255. */
  readonly detectMultiplier: number;
  /** Never 0. */
  readonly myDiscriminator: number;
  /** 0 while the sender does not know it. */
  readonly yourDiscriminator: number;
  readonly desiredMinTxUs: number;
  /** 0: the sender wants no periodic packets. */
  readonly requiredMinRxUs: number;
  /** 0: the sender takes no echo packets. */
  readonly requiredMinEchoRxUs: number;
}

/** Why a datagram is no packet of a session; one for each rule of RFC 5880 section 6.8.6 that needs no session. */
export type BfdDecodeReason =
  /** Fewer than 24 bytes. */
  | 'truncated'
  | 'version-unsupported'
  /** Length below 24, or below 26 with the authentication bit. */
  | 'length-too-short'
  /** Length says more than the datagram holds. */
  | 'length-beyond-datagram'
  | 'detect-multiplier-zero'
  | 'multipoint'
  | 'my-discriminator-zero'
  /** Your Discriminator is 0 although the sender is in Init or Up. */
  | 'your-discriminator-zero'
  | 'authentication-unsupported'
  /** Both bits set, which section 6.5 forbids. */
  | 'poll-and-final';

export type BfdDecoded =
  { readonly ok: true; readonly value: BfdPacket } | { readonly ok: false; readonly reason: BfdDecodeReason };

export const bfdPacketBytes = 24;
const version = 1;
const flag = { poll: 0x20, final: 0x10, independent: 0x08, authentication: 0x04, demand: 0x02, multipoint: 0x01 };

/** Decodes any bytes; total, and in the order of section 6.8.6. Bytes after the packet's own length are ignored, as there. */
export function decodeBfdPacket(bytes: Uint8Array): BfdDecoded {
  if (bytes.length < bfdPacketBytes) return refused('truncated');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint8(1);
  const has = (bit: number): boolean => (flags & bit) !== 0;
  const length = view.getUint8(3);
  const detectMultiplier = view.getUint8(2);
  const myDiscriminator = view.getUint32(4);
  const yourDiscriminator = view.getUint32(8);
  const state = states[flags >> 6] ?? 'admin-down';

  if (view.getUint8(0) >> 5 !== version) return refused('version-unsupported');
  if (length < (has(flag.authentication) ? 26 : bfdPacketBytes)) return refused('length-too-short');
  if (length > bytes.length) return refused('length-beyond-datagram');
  if (detectMultiplier === 0) return refused('detect-multiplier-zero');
  if (has(flag.multipoint)) return refused('multipoint');
  if (myDiscriminator === 0) return refused('my-discriminator-zero');
  if (yourDiscriminator === 0 && (state === 'init' || state === 'up')) return refused('your-discriminator-zero');
  if (has(flag.authentication)) return refused('authentication-unsupported');
  if (has(flag.poll) && has(flag.final)) return refused('poll-and-final');
  return {
    ok: true,
    value: {
      state,
      diagnostic: view.getUint8(0) & 0x1f,
      poll: has(flag.poll),
      final: has(flag.final),
      controlPlaneIndependent: has(flag.independent),
      demand: has(flag.demand),
      detectMultiplier,
      myDiscriminator,
      yourDiscriminator,
      desiredMinTxUs: view.getUint32(12),
      requiredMinRxUs: view.getUint32(16),
      requiredMinEchoRxUs: view.getUint32(20),
    },
  };
}

/** The 24 bytes of a packet whose fields are in their bounds. */
export function encodeBfdPacket(packet: BfdPacket): Uint8Array {
  const bytes = new Uint8Array(bfdPacketBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, (version << 5) | packet.diagnostic);
  view.setUint8(
    1,
    (states.indexOf(packet.state) << 6) |
      (packet.poll ? flag.poll : 0) |
      (packet.final ? flag.final : 0) |
      (packet.controlPlaneIndependent ? flag.independent : 0) |
      (packet.demand ? flag.demand : 0),
  );
  view.setUint8(2, packet.detectMultiplier);
  view.setUint8(3, bfdPacketBytes);
  view.setUint32(4, packet.myDiscriminator);
  view.setUint32(8, packet.yourDiscriminator);
  view.setUint32(12, packet.desiredMinTxUs);
  view.setUint32(16, packet.requiredMinRxUs);
  view.setUint32(20, packet.requiredMinEchoRxUs);
  return bytes;
}

function refused(reason: BfdDecodeReason): BfdDecoded {
  return { ok: false, reason };
}
