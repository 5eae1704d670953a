import { asBuffer } from './decoded.js';

/** NOTIFICATION (RFC 4271 section 4.5): why a session ends. */
export interface BgpNotification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

const nothing = new Uint8Array();

/** One from its numbers; see `notificationNames` for what they mean. */
export function notification(code: number, subcode: number, data: Uint8Array = nothing): BgpNotification {
  return { code, subcode, data };
}

/** RFC 4271, 4486, 5492, 6608, 7313, 9234, 9384, 9687. Subcode 0 is "unspecific" everywhere. */
export const notificationNames: Readonly<
  Record<number, { readonly name: string; readonly subcodes: Readonly<Record<number, string>> }>
> = Object.freeze({
  1: {
    name: 'message header error',
    subcodes: { 1: 'connection not synchronised', 2: 'bad message length', 3: 'bad message type' },
  },
  2: {
    name: 'OPEN error',
    subcodes: {
      1: 'unsupported version',
      2: 'bad peer AS',
      3: 'bad BGP identifier',
      4: 'unsupported optional parameter',
      5: 'authentication failure',
      6: 'unacceptable hold time',
      7: 'unsupported capability',
      11: 'role mismatch',
    },
  },
  3: {
    name: 'UPDATE error',
    subcodes: {
      1: 'malformed attribute list',
      2: 'unrecognised well-known attribute',
      3: 'missing well-known attribute',
      4: 'attribute flags',
      5: 'attribute length',
      6: 'invalid ORIGIN',
      8: 'invalid NEXT_HOP',
      9: 'optional attribute',
      10: 'invalid network field',
      11: 'malformed AS_PATH',
    },
  },
  4: { name: 'hold timer expired', subcodes: {} },
  5: {
    name: 'state machine error',
    subcodes: {
      1: 'unexpected message in OpenSent',
      2: 'unexpected message in OpenConfirm',
      3: 'unexpected message in Established',
    },
  },
  6: {
    name: 'cease',
    subcodes: {
      1: 'maximum number of prefixes reached',
      2: 'administrative shutdown',
      3: 'peer de-configured',
      4: 'administrative reset',
      5: 'connection rejected',
      6: 'other configuration change',
      7: 'connection collision resolution',
      8: 'out of resources',
      9: 'hard reset',
      10: 'BFD down',
    },
  },
  7: { name: 'ROUTE-REFRESH error', subcodes: { 1: 'invalid message length' } },
  8: { name: 'send hold timer expired', subcodes: {} },
});

/** The Cease subcodes that this speaker sends. */
export const ceaseSubcodes = Object.freeze({
  maximumPrefixes: 1,
  administrativeShutdown: 2,
  peerDeconfigured: 3,
  administrativeReset: 4,
  connectionRejected: 5,
  configurationChange: 6,
  collision: 7,
  hardReset: 9,
  bfdDown: 10,
});

/** Any Cease, with the shutdown communication of RFC 9003 (cut to 255 bytes of whole characters) where it has a place. */
export function cease(subcode: number, communication?: string): BgpNotification {
  const carries = subcode === ceaseSubcodes.administrativeShutdown || subcode === ceaseSubcodes.administrativeReset;
  if (communication === undefined || communication === '' || !carries) return notification(6, subcode);
  const text = wholeCharacters(Buffer.from(communication, 'utf8'), 255);
  return notification(6, subcode, Buffer.concat([Buffer.from([text.length]), text]));
}

/** The text that a peer gave for its administrative shutdown or reset; undefined when there is none or it is malformed. */
export function shutdownCommunication(from: BgpNotification): string | undefined {
  if (from.code !== 6) return undefined;
  if (from.subcode !== ceaseSubcodes.administrativeShutdown && from.subcode !== ceaseSubcodes.administrativeReset)
    return undefined;
  const data = asBuffer(from.data);
  const length = data[0] ?? 0;
  if (length === 0 || data.length < 1 + length) return undefined;
  // It is a stranger's text on its way to a log: control characters stay out.
  return data.toString('utf8', 1, 1 + length).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\uFFFD');
}

/** As `cease 2 (administrative shutdown): "maintenance"`, for people. */
export function describeNotification(from: BgpNotification): string {
  const known = notificationNames[from.code];
  const name = known?.name ?? `error ${String(from.code)}`;
  const detail = known?.subcodes[from.subcode];
  const numbers = `${String(from.code)}/${String(from.subcode)}`;
  const communication = shutdownCommunication(from);
  return (
    (detail === undefined ? `${name} (${numbers})` : `${name}: ${detail} (${numbers})`) +
    (communication === undefined ? '' : `, saying ${JSON.stringify(communication)}`)
  );
}

/** The body of the message. Total: a body shorter than two bytes, which the framing refuses, counts as unspecific. */
export function decodeNotification(body: Uint8Array): BgpNotification {
  return notification(body[0] ?? 0, body[1] ?? 0, Uint8Array.from(body.subarray(2)));
}

export function encodeNotificationBody(from: BgpNotification): Buffer {
  return Buffer.concat([Buffer.from([from.code, from.subcode]), from.data]);
}

/** At most `maxBytes`, without a cut through a character. */
function wholeCharacters(text: Buffer, maxBytes: number): Buffer {
  if (text.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((text[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return text.subarray(0, end);
}
