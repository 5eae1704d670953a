/** PEM (RFC 7468) as this package writes and takes it: whole blocks with nothing but whitespace between them. */
import { DerError } from './reader.js';

const blockPattern = /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END ([A-Z0-9 ]{1,40})-----/g;

/** The DER of every block labelled `label`, in order. Throws `DerError` for any other block, text, or bad base64. */
export function readPem(text: string, label: string): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  let end = 0;
  for (const match of text.matchAll(blockPattern)) {
    const [whole, begin, body = '', close] = match;
    if (text.slice(end, match.index).trim() !== '') throw new DerError('text stands between PEM blocks');
    if (begin !== label || close !== label) throw new DerError(`expected PEM blocks labelled ${label} only`);
    const base64 = body.replace(/[\r\n]/g, '');
    const bytes = Buffer.from(base64, 'base64');
    if (bytes.toString('base64') !== base64) throw new DerError('a PEM block is not base64');
    blocks.push(new Uint8Array(bytes));
    end = match.index + whole.length;
  }
  if (text.slice(end).trim() !== '') throw new DerError('text stands outside PEM blocks');
  return blocks;
}

/** One PEM block, ending in a newline. */
export function writePem(bytes: Uint8Array, label: string): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
