import { STATUS_CODES } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { classifyHead } from './classify-head.js';

/** A whole answer with `connection: close`, as bytes. */
export function httpAnswer(status: number): Buffer {
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = `${String(status)} ${reason}\n`;
  return Buffer.from(
    `HTTP/1.1 ${String(status)} ${reason}\r\n` +
      'content-type: text/plain; charset=utf-8\r\n' +
      `content-length: ${String(body.length)}\r\n` +
      'connection: close\r\n' +
      `\r\n${body}`,
    'latin1',
  );
}

/**
 * What to answer an application whose connection is refused before anything was forwarded: the bytes of a `403` (or
 * `status`, 400 to 599) with `connection: close` if `head`, the first bytes it sent, begin an HTTP/1 request; undefined
 * for anything else, which the caller resets. The answer to `HEAD` has no body.
 *
 * Write it, end the stream, and read on for a moment: closing with unread bytes would reset the answer away.
 */
export function http1Refusal(head: Buffer, status = 403): Buffer | undefined {
  if (head.length === 0) return undefined;
  const verdict = classifyHead(head);
  if ((verdict.decided ? verdict.protocol : verdict.likely) !== 'http1') return undefined;
  const answer = httpAnswer(status);
  if (head.toString('latin1', 0, 5) !== 'HEAD ') return answer;
  return answer.subarray(0, answer.indexOf('\r\n\r\n') + 4);
}

/** An answer of our own: small, plain, with a length. Settles when it is sent or the connection is gone. */
export async function respond(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  { close }: { readonly close: boolean },
): Promise<void> {
  if (res.destroyed || res.headersSent) return;
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = Buffer.from(`${String(status)} ${reason}\n`);
  const headers = ['Content-Type', 'text/plain; charset=utf-8', 'Content-Length', String(body.length)];
  if (close || req.httpVersion !== '1.1') headers.push('Connection', 'close');
  res.removeHeader('connection');
  res.writeHead(status, reason, headers);
  await new Promise<void>((resolve) => {
    res.once('finish', resolve);
    res.once('close', resolve);
    res.end(body);
    req.unpipe();
    req.resume();
  });
}
