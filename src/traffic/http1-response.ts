import { groupFields, listOf } from './http1-request.js';

export interface CheckedResponse {
  /** Name, value …, order and case as received, connection-only fields dropped, `Connection: close` kept. */
  readonly headers: readonly string[];
}

const connectionFields = new Set(['keep-alive', 'proxy-connection', 'upgrade', 'http2-settings']);

/** What of a response's fields goes to the client; a string says why the response cannot be passed on. */
export function checkResponse(
  response: { readonly statusCode: number; readonly rawHeaders: readonly string[] },
  client: { readonly httpVersion: string },
  maxHeaders: number,
): CheckedResponse | string {
  const { statusCode, rawHeaders } = response;
  if (rawHeaders.length / 2 > maxHeaders) return 'too many header fields';
  if (statusCode < 200 || statusCode > 999) return `status ${String(statusCode)} is no final status`;
  const fields = groupFields(rawHeaders);
  const encodings = fields.get('transfer-encoding');
  if (encodings !== undefined && (encodings.length !== 1 || encodings[0]?.toLowerCase() !== 'chunked')) {
    return 'Transfer-Encoding is not exactly chunked';
  }
  const lengths = fields.get('content-length');
  if (lengths !== undefined && (lengths.length !== 1 || !/^[0-9]{1,15}$/.test(lengths[0] ?? ''))) {
    return 'Content-Length is not one number';
  }

  const neverHasBody = statusCode === 204 || statusCode === 304;
  const chunked = encodings !== undefined && !neverHasBody && client.httpVersion === '1.1';
  const options = listOf(fields.get('connection'));
  const dropped = new Set(options);
  for (const kept of ['content-length', 'transfer-encoding', 'host', 'date', 'trailer']) dropped.delete(kept);
  const closes = options.includes('close') || client.httpVersion === '1.0';

  const headers: string[] = [];
  let saidConnection = false;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    const key = name.toLowerCase();
    if (key === 'connection') {
      const kept = closes ? 'close' : 'keep-alive';
      if (!saidConnection && options.includes(kept)) headers.push(name, listOf([value]).length === 1 ? value : kept);
      saidConnection ||= options.includes(kept);
      continue;
    }
    if (connectionFields.has(key) || dropped.has(key)) continue;
    if (key === 'transfer-encoding' && !chunked) continue;
    if (key === 'trailer' && !chunked) continue;
    headers.push(name, value);
  }
  if (closes && !saidConnection) headers.push('Connection', 'close');
  return { headers };
}

/** The head of an interim or upgrading response, as bytes. */
export function encodeHead(statusCode: number, reason: string, rawHeaders: readonly string[]): Buffer {
  let head = `HTTP/1.1 ${String(statusCode)} ${reason}\r\n`;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    head += `${rawHeaders[index] ?? ''}: ${rawHeaders[index + 1] ?? ''}\r\n`;
  }
  return Buffer.from(`${head}\r\n`, 'latin1');
}
