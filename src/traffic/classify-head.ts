import { METHODS } from 'node:http';

/** What the first bytes of a connection prove, or what they would pass for if no more came. */
export type HeadVerdict =
  | { readonly decided: true; readonly protocol: 'http1' | 'http2' | 'tls' | 'opaque' }
  | { readonly decided: false; readonly likely: 'http1' | 'opaque' };

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** Methods that Node's parser knows; another method is refused by the proxy, so here it is not HTTP. */
const requestStarts = METHODS.map((method) => Buffer.from(`${method} `, 'latin1'));

const opaque: HeadVerdict = Object.freeze({ decided: true, protocol: 'opaque' });
const undecided: HeadVerdict = Object.freeze({ decided: false, likely: 'opaque' });
const likelyHttp1: HeadVerdict = Object.freeze({ decided: false, likely: 'http1' });

/** Classifies `head`, the whole of what a connection has sent so far (at least one byte). */
export function classifyHead(head: Buffer): HeadVerdict {
  if (head[0] === 0x16) return classifyTls(head);
  if (isPrefix(head, preface)) {
    return head.length >= preface.length ? { decided: true, protocol: 'http2' } : undecided;
  }
  const start = requestStarts.find((candidate) => isPrefix(head, candidate));
  if (start === undefined) return opaque;
  return head.length < start.length ? undecided : classifyRequestLine(head, start.length);
}

/** A handshake record (22) of any TLS 1.x version, with a ClientHello (1) first. */
function classifyTls(head: Buffer): HeadVerdict {
  const [, major, minor, , , handshake] = head;
  if (major !== undefined && major !== 3) return opaque;
  if (minor !== undefined && minor > 4) return opaque;
  if (handshake === undefined) return undecided;
  return handshake === 1 ? { decided: true, protocol: 'tls' } : opaque;
}

/** From the target on: `target SP HTTP/1.x`. Inline commands of other protocols (`GET key`) fail at the target's first byte. */
function classifyRequestLine(head: Buffer, targetStart: number): HeadVerdict {
  const targetEnd = head.indexOf(0x20, targetStart);
  const target = head.toString('latin1', targetStart, targetEnd < 0 ? head.length : targetEnd);
  if (/[\x00-\x20\x7f]/.test(target) || !couldBeTarget(target, head[0] === 0x43)) return opaque;
  if (targetEnd < 0) return likelyHttp1;
  const version = head.toString('latin1', targetEnd + 1, targetEnd + 9);
  if (/^HTTP\/1\.[0-9]$/.test(version)) return { decided: true, protocol: 'http1' };
  return 'HTTP/1.'.startsWith(version) ? likelyHttp1 : opaque;
}

/** Origin, asterisk and absolute form; `CONNECT` and its kin (methods starting with C) may also have an authority. */
function couldBeTarget(target: string, maybeConnect: boolean): boolean {
  if (target === '') return true;
  if (maybeConnect || target.startsWith('/') || target === '*') return true;
  const scheme = target.slice(0, 8).toLowerCase();
  return 'https://'.startsWith(scheme) || scheme.startsWith('http://') || 'http://'.startsWith(scheme);
}

function isPrefix(head: Buffer, whole: Buffer): boolean {
  const length = Math.min(head.length, whole.length);
  return head.compare(whole, 0, length, 0, length) === 0;
}
