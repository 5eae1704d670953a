import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:http2';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestCa } from '../../src/testing/test-ca.js';
import { testCertificateDefects } from '../../src/testing/test-certificate-defects.js';
import { testRequiring } from '../support/requirements.js';
import { closed, rawHttp2, rawRequest, rawTcp, rawTls } from './raw.js';
import { Rig, agentA, echo, readAll, until } from './support.js';

let rig: Rig;
let connects = 0;
let directory: string;

beforeEach(async () => {
  connects = 0;
  directory = mkdtempSync(join(tmpdir(), 'meshwright-tunnel-'));
  rig = await Rig.start({
    limits: { handshakeTimeoutMs: 1_000, keepaliveIntervalMs: 1_000, keepaliveTimeoutMs: 1_000 },
    onConnect: (request) => {
      connects += 1;
      return echo(request);
    },
  });
});

afterEach(async () => {
  // Whatever was sent: the listener serves on, and nothing of it is left.
  const { stream } = await rig.connect();
  stream.end('still serving');
  expect((await readAll(stream)).toString()).toBe('still serving');
  expect(connects).toBe(1);
  rig.client.destroy();
  await until(() => rig.server.sessions.length === 0);
  rig.stop();
  rmSync(directory, { recursive: true });
});

/** The listener refused once, for this reason, and said so in its log. */
async function expectRefusal(code: string, detail: RegExp = /./): Promise<void> {
  await until(() => rig.refusals.length > 0);
  expect(rig.refusals).toEqual([code]);
  const [line] = rig.logged(code);
  expect(line?.level).toBe('warn');
  expect(line?.fields['reason']).toMatch(detail);
  expect(line?.fields['remote']).toMatch(/^127\.0\.0\.1:\d+$/);
}

describe('before TLS is done', () => {
  test('plain HTTP is refused', async () => {
    const socket = await rawTcp(rig);
    socket.write('GET / HTTP/1.1\r\nhost: tunnel\r\n\r\n');
    await closed(socket);
    await expectRefusal('TUNNEL_TLS_FAILED', /http request/i);
  });

  test('64 KiB of garbage are refused', async () => {
    const socket = await rawTcp(rig);
    socket.write(Buffer.concat([Buffer.from([0xff]), randomBytes(65_535)]));
    await closed(socket);
    await expectRefusal('TUNNEL_TLS_FAILED');
  });

  test('silence ends at the handshake timeout', async () => {
    await closed(await rawTcp(rig));
    await expectRefusal('TUNNEL_HANDSHAKE_TIMEOUT');
  });

  test('a handshake one byte at a time ends at the handshake timeout', async () => {
    const socket = await rawTcp(rig);
    const hello = Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), randomBytes(505)]);
    let at = 0;
    const drip = setInterval(() => socket.write(hello.subarray(at, (at += 1))), 10);
    await closed(socket);
    clearInterval(drip);
    await expectRefusal('TUNNEL_HANDSHAKE_TIMEOUT');
  });

  test('TLS 1.2 is refused', async () => {
    await expect(rawTls(rig, rig.clientSvid.current, { maxVersion: 'TLSv1.2' })).rejects.toThrow();
    await expectRefusal('TUNNEL_TLS_FAILED', /protocol/i);
  });

  test('ChaCha20 alone is refused', async () => {
    const only = { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' };
    await expect(rawTls(rig, rig.clientSvid.current, only)).rejects.toThrow();
    await expectRefusal('TUNNEL_TLS_FAILED', /cipher/i);
  });

  test('another ALPN protocol is refused', async () => {
    await expect(rawTls(rig, rig.clientSvid.current, { ALPNProtocols: ['http/1.1'] })).rejects.toThrow();
    await expectRefusal('TUNNEL_TLS_FAILED', /application protocol/i);
  });
});

describe('before HTTP/2 begins', () => {
  test('no ALPN is refused without a byte of HTTP', async () => {
    const socket = await rawTls(rig, rig.clientSvid.current, { ALPNProtocols: [] });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await closed(socket);
    expect(chunks).toEqual([]);
    await expectRefusal('TUNNEL_ALPN_MISMATCH', /got none/);
  });

  test('no client certificate is refused', async () => {
    await closed(await rawTls(rig, undefined));
    await expectRefusal('TUNNEL_PEER_CERTIFICATE_MISSING');
  });

  test('a certificate of another authority is refused', async () => {
    await closed(await rawTls(rig, TestCa.create().svid(agentA)));
    await expectRefusal('TUNNEL_PEER_UNTRUSTED');
  });

  test('a peer the authorizer does not accept is refused by name', async () => {
    await closed(await rawTls(rig, rig.ca.svid('spiffe://cluster.local/ns/shop/sa/web')));
    await expectRefusal('TUNNEL_PEER_NOT_AUTHORIZED', /ns\/shop\/sa\/web/);
  });

  test.each(Object.entries(testCertificateDefects))(
    'a certificate with defect %s is refused',
    async (_name, defect) => {
      const identity = defect.issue(rig.ca, agentA);
      let socket;
      try {
        socket = await rawTls(rig, identity);
      } catch {
        // This client's own OpenSSL would not load or send it: it never got as far as a connection that matters.
        rig.events.length = 0;
        return;
      }
      await closed(socket);
      await until(() => rig.refusals.length > 0);
      expect(['TUNNEL_PEER_UNTRUSTED', 'TUNNEL_TLS_FAILED']).toContain(rig.refusals[0]);
    },
  );

  test('HTTP/1 inside TLS is refused', async () => {
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write('GET / HTTP/1.1\r\nhost: tunnel\r\n\r\n');
    await closed(socket);
    await until(() => rig.events.some((event) => event.type === 'session-closed' && event.side === 'server'));
    expect(rig.lines.find((line) => line.message === 'tunnel session closed')?.fields['reason']).toMatch(
      /bad client magic/,
    );
  });

  test('64 KiB of garbage inside TLS are refused', async () => {
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write(randomBytes(65_536));
    await closed(socket);
    await until(() => rig.events.some((event) => event.type === 'session-closed' && event.side === 'server'));
  });

  test('silence after the handshake ends', async () => {
    await closed(await rawTls(rig, rig.clientSvid.current));
    await until(() => rig.logged('TUNNEL_HANDSHAKE_TIMEOUT').length > 0);
  });

  test('half a request and silence ends', async () => {
    const socket = await rawTls(rig, rig.clientSvid.current);
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    // A HEADERS frame of 100 bytes, of which 10 come.
    socket.write(Buffer.concat([Buffer.from([0, 0, 100, 1, 4, 0, 0, 0, 1]), Buffer.alloc(10, 0x82)]));
    await closed(socket);
    await until(() => rig.logged('TUNNEL_KEEPALIVE_TIMEOUT').length > 0);
  });
});

describe('requests', () => {
  async function refused(headers: Record<string, string>): Promise<{ status: number | undefined; rstCode: number }> {
    const session = await rawHttp2(rig);
    const answer = await rawRequest(session, headers);
    expect(answer.body.length).toBe(0);
    session.destroy();
    return answer;
  }

  test('GET instead of CONNECT gets 405', async () => {
    const answer = await refused({ ':method': 'GET', ':path': '/', ':authority': '10.0.0.7:8080' });
    expect(answer.status).toBe(405);
    expect(rig.logged('TUNNEL_METHOD_NOT_ALLOWED')[0]?.fields).toMatchObject({ status: 405, peer: agentA });
    expect(rig.events.filter((event) => event.type === 'stream-refused')).toHaveLength(1);
  });

  test.each([
    '10.0.0.7',
    '10.0.0.7:',
    '10.0.0.7:0',
    '10.0.0.7:65536',
    ':80',
    '[fd00::1]',
    // From Node 22 on a protocol error before it gets to us.
    ...(Number(process.versions.node.split('.')[0]) < 22 ? ['user@name:80'] : []),
    '010.0.0.1:80',
  ])('authority %s gets 400', async (authority) => {
    expect((await refused({ ':method': 'CONNECT', ':authority': authority })).status).toBe(400);
    expect(rig.logged('TUNNEL_AUTHORITY_MALFORMED')).toHaveLength(1);
  });

  test.each([{}, { ':authority': 'a/b:1' }, { ':authority': '10.0.0.7:80', ':path': '/' }])(
    'a CONNECT that is not one (%j) is a protocol error',
    async (headers) => {
      const session = await rawHttp2(rig);
      const answer = await rawRequest(session, { ':method': 'CONNECT', ...headers }).catch(() => undefined);
      expect(answer?.status).toBeUndefined();
      session.destroy();
    },
  );

  test('a header list beyond the limit is refused', async () => {
    const session = await rawHttp2(rig, { maxSendHeaderBlockLength: 1 << 20 });
    const headers: Record<string, string> = { ':method': 'CONNECT', ':authority': '10.0.0.7:8080' };
    for (let index = 0; index < 100; index += 1) headers[`x-bomb-${String(index)}`] = 'x'.repeat(4_000);
    const answer = await rawRequest(session, headers);
    expect(answer).toMatchObject({ status: undefined, rstCode: constants.NGHTTP2_ENHANCE_YOUR_CALM });
    session.destroy();
  });

  test('more header fields than the limit are refused', async () => {
    const session = await rawHttp2(rig);
    const headers: Record<string, string> = { ':method': 'CONNECT', ':authority': '10.0.0.7:8080' };
    for (let index = 0; index < 500; index += 1) headers[`x-${String(index)}`] = '1';
    const answer = await rawRequest(session, headers);
    expect(answer).toMatchObject({ status: undefined, rstCode: constants.NGHTTP2_ENHANCE_YOUR_CALM });
    session.destroy();
  });
});

/** Runs a foreign client; it is told to quit when its output matches `enough`. */
function run(command: string, args: readonly string[], enough = /^$/): Promise<{ output: string }> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { timeout: 10_000 }, (_error, stdout, stderr) =>
      resolve({ output: stdout + stderr }),
    );
    child.stdin?.on('error', () => undefined);
    let output = '';
    child.stdout?.on('data', (chunk: string) => {
      output += chunk;
      if (enough.test(output) && child.stdin?.writableEnded === false) child.stdin.end('Q\n');
    });
  });
}

function identityFiles(): { cert: string; key: string } {
  const cert = join(directory, 'cert.pem');
  const key = join(directory, 'key.pem');
  writeFileSync(cert, rig.clientSvid.current.chainPem);
  writeFileSync(key, rig.clientSvid.current.privateKeyPem, { mode: 0o600 });
  return { cert, key };
}

describe('foreign clients', () => {
  testRequiring(
    { commands: ['openssl'] },
    'openssl sees TLS 1.3, AES-GCM, h2 and the authorities, and resumes nothing',
    async () => {
      const { cert, key } = identityFiles();
      const saved = join(directory, 'session.pem');
      const target = `127.0.0.1:${String(rig.server.address.port)}`;
      const common = ['s_client', '-connect', target, '-alpn', 'h2', '-noservername', '-cert', cert, '-key', key];
      const first = await run('openssl', [...common, '-sess_out', saved], /Max Early Data|Extended master secret/);
      expect(first.output).toMatch(/New, TLSv1\.3, Cipher is TLS_AES_256_GCM_SHA384/);
      expect(first.output).toMatch(/ALPN protocol: h2/);
      expect(first.output).toMatch(/cluster\.local test root/);
      if (existsSync(saved)) {
        const second = await run('openssl', [...common, '-sess_in', saved], /Max Early Data|Extended master secret/);
        expect(second.output).not.toMatch(/Reused, TLS/);
      }
      await until(() => rig.server.sessions.length === 0);
    },
  );

  testRequiring({ commands: ['openssl'] }, 'openssl without a certificate is refused', async () => {
    const target = `127.0.0.1:${String(rig.server.address.port)}`;
    await run('openssl', ['s_client', '-connect', target, '-alpn', 'h2']);
    await expectRefusal('TUNNEL_PEER_CERTIFICATE_MISSING');
  });

  testRequiring({ commands: ['curl'] }, 'curl gets 405 for GET and for POST', async () => {
    const { cert, key } = identityFiles();
    const url = `https://127.0.0.1:${String(rig.server.address.port)}/`;
    const common = [
      '-sk',
      '--http2',
      '--cert',
      cert,
      '--key',
      key,
      '-o',
      '/dev/null',
      '-w',
      '%{http_version} %{http_code}',
      url,
    ];
    expect((await run('curl', common)).output).toBe('2 405');
    expect((await run('curl', ['-d', 'x'.repeat(100_000), ...common])).output).toContain('405');
    await until(() => rig.server.sessions.length === 0);
  });
});
