import { afterEach, describe, expect, it } from 'vitest';
import { cleanUp, exchange, httpApp, startProxy } from './support.js';

afterEach(cleanUp);

const host = 'Host: a\r\n';
const big = (length: number): string => 'x'.repeat(length);

/** Requests that must never reach the application, with the status the client gets; undefined: an end without an answer will do. */
const corpus: readonly (readonly [name: string, bytes: string, status: number])[] = [
  ['two Host fields', `GET / HTTP/1.1\r\n${host}Host: b\r\n\r\n`, 400],
  ['two equal Host fields', `GET / HTTP/1.1\r\n${host}${host}\r\n`, 400],
  ['no Host', 'GET / HTTP/1.1\r\nX: 1\r\n\r\n', 400],
  ['no Host in HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', 400],
  ['a Host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n', 400],
  ['a Host with user information', 'GET / HTTP/1.1\r\nHost: user@a\r\n\r\n', 400],
  ['a Host with a path', 'GET / HTTP/1.1\r\nHost: a/admin\r\n\r\n', 400],
  ['a list of hosts', 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n', 400],
  ['absolute form', `GET http://b/ HTTP/1.1\r\n${host}\r\n`, 400],
  ['absolute form with the same host', `GET http://a/ HTTP/1.1\r\n${host}\r\n`, 400],
  ['CONNECT', 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', 400],
  ['CONNECT with a path', `CONNECT / HTTP/1.1\r\n${host}\r\n`, 400],
  ['asterisk with GET', `GET * HTTP/1.1\r\n${host}\r\n`, 400],
  ['a target without a slash', `GET admin HTTP/1.1\r\n${host}\r\n`, 400],
  ['a fragment', `GET /a#b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a NUL in the path', `GET /a\0b HTTP/1.1\r\n${host}\r\n`, 400],
  ['an encoded NUL in the path', `GET /a%00b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a control byte in the path', `GET /a\x01b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a tab in the path', `GET /a\tb HTTP/1.1\r\n${host}\r\n`, 400],
  ['DEL in the path', `GET /a\x7fb HTTP/1.1\r\n${host}\r\n`, 400],
  ['a non-ASCII byte in the path', `GET /\xe9 HTTP/1.1\r\n${host}\r\n`, 400],
  ['UTF-8 in the path', `GET /\xc3\xa9 HTTP/1.1\r\n${host}\r\n`, 400],
  ['a non-ASCII byte in the query', `GET /?\xe9 HTTP/1.1\r\n${host}\r\n`, 400],
  ['a space in the path', `GET /a b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a backslash in the path', `GET /a\\b HTTP/1.1\r\n${host}\r\n`, 400],
  ['a malformed percent-encoding', `GET /a%2 HTTP/1.1\r\n${host}\r\n`, 400],
  ['a percent-encoding that is none', `GET /%zz HTTP/1.1\r\n${host}\r\n`, 400],
  ['a lower-case method', `get / HTTP/1.1\r\n${host}\r\n`, 400],
  ['an unknown method', `FROBNICATE / HTTP/1.1\r\n${host}\r\n`, 400],
  ['a method that is no token', `G{T / HTTP/1.1\r\n${host}\r\n`, 400],
  ['HTTP/0.9', 'GET /\r\n\r\n', 505],
  ['HTTP/1.2', `GET / HTTP/1.2\r\n${host}\r\n`, 400],
  ['HTTP/2.0 in a request line', `GET / HTTP/2.0\r\n${host}\r\n`, 505],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ['HTTP in lower case', `GET / http/1.1\r\n${host}\r\n`, 400],
  ['CL.TE', `POST / HTTP/1.1\r\n${host}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG`, 400],
  ['TE.CL', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST`, 400],
  ['TE.TE', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n`, 400],
  ['chunked twice', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`, 400],
  ['chunked not last', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`, 400],
  ['gzip, chunked', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, 501],
  ['identity', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: identity\r\n\r\n`, 400],
  ['xchunked', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 400],
  ['chunked after a vertical tab', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`, 400],
  ['quoted chunked', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`, 400],
  ['space before the colon of TE', `POST / HTTP/1.1\r\n${host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`, 400],
  ['TE folded', `POST / HTTP/1.1\r\n${host}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n`, 400],
  ['TE in HTTP/1.0', `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['two lengths that differ', `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, 400],
  ['two equal lengths', `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`, 400],
  ['a list of lengths', `POST / HTTP/1.1\r\n${host}Content-Length: 1, 1\r\n\r\na`, 400],
  ['a signed length', `POST / HTTP/1.1\r\n${host}Content-Length: +1\r\n\r\na`, 400],
  ['a negative length', `POST / HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\na`, 400],
  ['a hexadecimal length', `POST / HTTP/1.1\r\n${host}Content-Length: 0x1\r\n\r\na`, 400],
  ['a length with a space inside', `POST / HTTP/1.1\r\n${host}Content-Length: 1 1\r\n\r\na`, 400],
  ['an empty length', `POST / HTTP/1.1\r\n${host}Content-Length:\r\n\r\na`, 400],
  ['an enormous length', `POST / HTTP/1.1\r\n${host}Content-Length: 18446744073709551617\r\n\r\na`, 400],
  ['a length beyond safe numbers', `POST / HTTP/1.1\r\n${host}Content-Length: 9007199254740993\r\n\r\na`, 400],
  ['obs-fold', `GET / HTTP/1.1\r\n${host}X: 1\r\n 2\r\n\r\n`, 400],
  ['a bare LF', `GET / HTTP/1.1\n${host}\r\n`, 400],
  ['a bare LF between fields', 'GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n', 400],
  ['a bare CR between fields', 'GET / HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n', 400],
  ['a NUL in a field', `GET / HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, 400],
  ['a control byte in a field', `GET / HTTP/1.1\r\n${host}X: a\x01b\r\n\r\n`, 400],
  ['a space before the first field', `GET / HTTP/1.1\r\n ${host}\r\n`, 400],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400],
  ['a field name that is no token', `GET / HTTP/1.1\r\n${host}X(: 1\r\n\r\n`, 400],
  ['a field without a colon', `GET / HTTP/1.1\r\n${host}X\r\n\r\n`, 400],
  ['an empty field name', `GET / HTTP/1.1\r\n${host}: x\r\n\r\n`, 400],
  ['Connection: Host', `GET / HTTP/1.1\r\n${host}Connection: host\r\n\r\n`, 400],
  [
    'Connection: Content-Length',
    `POST / HTTP/1.1\r\n${host}Content-Length: 0\r\nConnection: close, Content-Length\r\n\r\n`,
    400,
  ],
  ['a Connection that is no list of tokens', `GET / HTTP/1.1\r\n${host}Connection: a b\r\n\r\n`, 400],
  ['Upgrade to an unknown protocol', `GET / HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: TLS/1.2\r\n\r\n`, 501],
  [
    'Upgrade to h2c or websocket',
    `GET / HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n`,
    501,
  ],
  [
    'Upgrade by POST',
    `POST / HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n`,
    400,
  ],
  [
    'a request behind an Upgrade',
    `GET / HTTP/1.1\r\n${host}Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /`,
    400,
  ],
  ['too many fields', `GET / HTTP/1.1\r\n${host}${'x: 1\r\n'.repeat(400)}\r\n`, 431],
  ['more fields than Node keeps', `GET / HTTP/1.1\r\n${host}${'x: 1\r\n'.repeat(2202)}\r\n`, 431],
  ['an oversized field', `GET / HTTP/1.1\r\n${host}X: ${big(70_000)}\r\n\r\n`, 431],
  ['an oversized target', `GET /${big(70_000)} HTTP/1.1\r\n${host}\r\n`, 431],
  ['garbage', big(1000), 400],
  ['binary garbage', '\x00\x01\x02\x03\x04\x05\r\n\r\n', 400],
  ['a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400],
];

describe('proxyHttp1: what is refused whatever policy says', () => {
  it.each(corpus)('%s', async (_name, bytes, status) => {
    const forwarded: string[] = [];
    const upstreamPort = await httpApp((req, res) => {
      forwarded.push(`${req.method ?? ''} ${req.url ?? ''}`);
      res.end('reached');
    });
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(proxy.port, bytes);
    expect(text.split('\r\n')[0]).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
    expect(text.toLowerCase()).toContain('connection: close');
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(forwarded).toEqual([]);
    expect(proxy.facts).toEqual([]);
    expect(proxy.upstreamConnections).toBe(0);
    const result = await proxy.results[0];
    expect(result).toMatchObject({ malformed: 1, allowed: 0, refused: 0 });
    expect(proxy.events).toHaveLength(1);
    expect(proxy.events[0]).toMatchObject({ type: 'http-request', outcome: 'malformed', allowed: false, status });
    expect(proxy.events[0]?.problem).toBeTruthy();
  });

  it('closes the connection: nothing behind a malformed request is served', async () => {
    const forwarded: string[] = [];
    const upstreamPort = await httpApp((req, res) => {
      forwarded.push(req.url ?? '');
      res.end('ok');
    });
    const proxy = await startProxy({ upstreamPort });
    const good = (path: string): string => `GET ${path} HTTP/1.1\r\n${host}\r\n`;
    const { text } = await exchange(proxy.port, `${good('/1')}GET /2 HTTP/1.1\r\n${host}${host}\r\n${good('/3')}`);
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
    expect(forwarded).toEqual(['/1']);
  });

  it('answers what came before bytes that do not parse, then closes', async () => {
    const upstreamPort = await httpApp((_req, res) => res.end('ok'));
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(proxy.port, `GET /1 HTTP/1.1\r\n${host}\r\nnot http at all\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 200 .*\r\n\r\nok(HTTP\/1\.1 400 .*)?$/s);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'eof', allowed: 1, malformed: 1 });
  });

  const brokenBodies: readonly (readonly [name: string, body: string])[] = [
    ['a chunk size that is no number', 'zz\r\nhello\r\n0\r\n\r\n'],
    ['a chunk longer than its size', '3\r\nhello\r\n0\r\n\r\n'],
    ['a chunk ended by a bare LF', '5\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk size with a 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['an overflowing chunk size', '10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['chunk data without its CRLF', '5\r\nhello0\r\n\r\n'],
    ['a Content-Length among the trailers', '5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n'],
    ['an Authorization among the trailers', '5\r\nhello\r\n0\r\nAuthorization: x\r\n\r\n'],
    ['an endless chunk extension', `5;${big(70_000)}\r\nhello\r\n0\r\n\r\n`],
    ['an end in the middle', '5\r\nhel'],
  ];

  it.each(brokenBodies)('a body with %s never looks complete to the application', async (_name, body) => {
    let complete = 0;
    const upstreamPort = await httpApp((req, res) => {
      req.on('error', () => undefined);
      req.resume();
      req.on('end', () => {
        if (req.complete) complete += 1;
        res.end('reached');
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const { text } = await exchange(proxy.port, `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${body}`);
    expect(text).not.toContain('reached');
    expect(text).toMatch(/^(HTTP\/1\.1 4\d\d .*connection: close.*)?$/is);
    expect(complete).toBe(0);
    await proxy.results[0];
  });
});

describe('proxyHttp1: verdicts', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('no policy');
      },
    ],
    ['answers nothing', () => undefined],
    ['answers a truthy value that is not true', () => ({ allowed: 1 })],
    ['answers a success status', () => ({ allowed: false, status: 200 })],
    ['answers a broken status', () => ({ allowed: false, status: Number.NaN })],
  ])('refuses when authorize %s', async (_name, authorize) => {
    const upstreamPort = await httpApp((_req, res) => res.end('reached'));
    const proxy = await startProxy({ upstreamPort, authorize: authorize as never });
    const { text } = await exchange(proxy.port, `GET / HTTP/1.1\r\n${host}\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 403 /);
    expect(proxy.upstreamConnections).toBe(0);
  });

  it('uses the status of the verdict, and sends no body to HEAD', async () => {
    const proxy = await startProxy({ authorize: () => ({ allowed: false, status: 401 }) });
    const { text } = await exchange(proxy.port, `HEAD / HTTP/1.1\r\n${host}\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    expect(text.endsWith('\r\n\r\n')).toBe(true);
  });
});
