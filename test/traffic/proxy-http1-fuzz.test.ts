import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { cleanUp, exchange, startProxy, tcpServer } from './support.js';

afterAll(cleanUp);

const whole = [
  'GET /ok HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /denied HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\n\r\nGET /denied HTTP/1.1\r\nHost: a\r\nX: xxxx\r\n\r',
  'POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'POST /denied HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST /ok HTTP/1.1\r\nHost: a\r\n',
];

const pieces = [
  'GET /ok HTTP/1.1\r\n',
  'GET /denied HTTP/1.1\r\n',
  'POST /ok HTTP/1.1\r\n',
  'Host: a\r\n',
  'Host: b\r\n',
  'Host : a\r\n',
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 40\r\n',
  'content-length:\t5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding:\x0bchunked\r\n',
  'Transfer-Encoding\r\n : chunked\r\n',
  'Connection: close\r\n',
  'Connection: Transfer-Encoding\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'X: y\r\n',
  'X: y\n',
  'X: y\r',
  '\r\n',
  '\n',
  '\r\n\r\n',
  '0\r\n\r\n',
  '5\r\nhello\r\n0\r\n\r\n',
  '5;a="\r\n\r\n"\r\nhello\r\n',
  'hello',
  'GET /denied HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /ok HTTP/1.1\r\nHost: a\r\n\r\n',
  '\0',
  '\xff',
  ' ',
];

describe('proxyHttp1 with arbitrary input', () => {
  it('lets nothing reach the application that was not judged and allowed', async () => {
    // By connection, over all runs: what an earlier run sent may arrive while a later one is checked.
    const reached: { text: string }[] = [];
    let allowedSoFar = 0;
    let mostRequests = 0;
    const upstreamPort = await tcpServer((socket) => {
      const received = { text: '' };
      reached.push(received);
      socket.on('data', (chunk: Buffer) => {
        received.text += chunk.toString('latin1');
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      });
      socket.on('end', () => socket.end());
    });
    const proxy = await startProxy({
      upstreamPort,
      authorize: ({ path }) => ({ allowed: path === '/ok' }),
      limits: { lingerMs: 0 },
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            { weight: 1, arbitrary: fc.constantFrom(...whole) },
            { weight: 2, arbitrary: fc.constantFrom(...pieces) },
          ),
          { minLength: 1, maxLength: 12 },
        ),
        async (parts) => {
          proxy.facts.length = 0;
          const { text } = await exchange(proxy.port, parts.join(''));
          const result = await proxy.results.at(-1);
          const allowed = proxy.facts.filter(({ path }) => path === '/ok');
          const requests = reached.flatMap(({ text: received }) => readRequests(received));
          expect(requests.filter((line) => !/^(GET|POST) \/ok HTTP\/1\.1$/.test(line))).toEqual([]);
          // A repeat after a failure on a kept connection is the only way to more requests than verdicts.
          allowedSoFar += allowed.length;
          expect(requests.length).toBeLessThanOrEqual(allowedSoFar);
          mostRequests = Math.max(mostRequests, allowed.length);
          expect(result?.allowed).toBe(allowed.length);
          const statuses = text.match(/^HTTP\/1\.1 \d{3}/gm) ?? [];
          expect(statuses.length).toBeLessThanOrEqual(proxy.facts.length + 2 * allowed.length + 1);
        },
      ),
      // At least one case that must get several requests through, or this might prove nothing.
      { numRuns: 400, examples: [[[whole[0] ?? '', whole[0] ?? '', whole[0] ?? '']]] },
    );
    expect(mostRequests).toBeGreaterThan(1);
    expect(reached.length).toBeGreaterThan(1);
  }, 60_000);

  it('survives random bytes', async () => {
    const proxy = await startProxy({ authorize: () => ({ allowed: false }), limits: { lingerMs: 0 } });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        await exchange(proxy.port, Buffer.from(bytes));
        expect(await proxy.results.at(-1)).toMatchObject({ allowed: 0 });
      }),
      { numRuns: 100 },
    );
  }, 60_000);
});

/** Request lines, by a strict reading of the bytes that reached the application: what is not framed as body is a head. */
function readRequests(text: string): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    const head = end < 0 ? rest : rest.slice(0, end);
    lines.push(head.split('\r\n', 1)[0] ?? '');
    if (end < 0) break;
    rest = rest.slice(end + 4);
    const length = /\r\ncontent-length:\s*(\d+)/i.exec(head)?.[1];
    if (/\r\ntransfer-encoding: chunked/i.test(head)) rest = afterChunks(rest);
    else if (length !== undefined) rest = rest.slice(Number(length));
  }
  return lines;
}

function afterChunks(text: string): string {
  let rest = text;
  for (;;) {
    const match = /^([0-9a-f]+)\r\n/i.exec(rest);
    if (match === null) return rest;
    const size = Number.parseInt(match[1] ?? '0', 16);
    rest = rest.slice(match[0].length + size + 2);
    if (size === 0) return rest;
  }
}
