import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { cleanUp, dial, httpApp, readAll, readUntil, startProxy, tcpServer, until } from './support.js';

afterEach(cleanUp);

const upgrade = (path = '/ws'): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
const switching =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

describe('proxyHttp1: Upgrade', () => {
  it('is judged like any request, then carries bytes both ways with half-close', async () => {
    let seen = '';
    const upstreamPort = await tcpServer((socket: Socket) => {
      socket.once('data', (head: Buffer) => {
        seen = head.toString('latin1');
        // The first frame rides along with the 101.
        socket.write(`${switching}first`);
        socket.on('data', (chunk: Buffer) => socket.write(`echo:${chunk.toString()}`));
        socket.on('end', () => socket.end('last'));
      });
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write(upgrade());
    expect(await readUntil(client, (text) => text.includes('first'))).toBe(`${switching}first`);
    expect(seen).toBe(upgrade());
    client.write('GET /not-http HTTP/1.1\r\n\r\n');
    expect(await readUntil(client, (text) => text.includes('not-http'))).toBe('echo:GET /not-http HTTP/1.1\r\n\r\n');
    client.end();
    expect((await readAll(client)).text).toBe('last');
    const result = await proxy.results[0];
    expect(result).toMatchObject({ outcome: 'eof', upgraded: true, requests: 1, allowed: 1 });
    expect(result?.receivedBytes).toBe(upgrade().length + 26);
    expect(proxy.events[0]).toMatchObject({ status: 101, outcome: 'upgraded', allowed: true });
  });

  it('is refused by policy with 403, and the connection goes on as HTTP', async () => {
    const upstreamPort = await httpApp((_req, res) => res.end('ok'));
    const proxy = await startProxy({ upstreamPort, authorize: ({ path }) => ({ allowed: path !== '/ws' }) });
    const client = await dial(proxy.port);
    client.write(upgrade());
    expect(await readUntil(client, (text) => text.endsWith('\n'))).toMatch(/^HTTP\/1\.1 403 /);
    expect(proxy.upstreamConnections).toBe(0);
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await readUntil(client, (text) => text.endsWith('ok'))).toMatch(/200 OK/);
  });

  it('stays HTTP when the application declines, and judges what follows', async () => {
    const upstreamPort = await httpApp((_req, res) => res.end('plain'));
    const proxy = await startProxy({ upstreamPort, authorize: ({ path }) => ({ allowed: path !== '/secret' }) });
    const client = await dial(proxy.port);
    client.write(upgrade());
    expect(await readUntil(client, (text) => text.endsWith('plain'))).toMatch(/200 OK/);
    client.write('GET /secret HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await readUntil(client, (text) => text.endsWith('\n'))).toMatch(/^HTTP\/1\.1 403 /);
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(await readUntil(client, (text) => text.endsWith('plain'))).toMatch(/200 OK/);
  });

  it('is a failure when the application switches to something else', async () => {
    const upstreamPort = await tcpServer((socket) => {
      socket.once('data', () => socket.write(switching.replace('Upgrade: websocket', 'Upgrade: h2c')));
    });
    const proxy = await startProxy({ upstreamPort });
    const client = await dial(proxy.port);
    client.write(upgrade());
    expect(await readUntil(client, (text) => text.endsWith('\n'))).toMatch(/^HTTP\/1\.1 502 /);
  });

  it('passes a reset on, from either side', async () => {
    for (const side of ['client', 'application'] as const) {
      const sockets: Socket[] = [];
      const upstreamPort = await tcpServer((socket) => {
        sockets.push(socket);
        socket.once('data', () => socket.write(switching));
        socket.on('data', () => undefined);
      });
      const proxy = await startProxy({ upstreamPort });
      const client = await dial(proxy.port);
      client.write(upgrade());
      await readUntil(client, (text) => text.endsWith('\r\n\r\n'));
      let reset = false;
      const other = side === 'client' ? sockets[0] : client;
      other?.on('error', () => (reset = true));
      client.resume();
      (side === 'client' ? client : sockets[0])?.resetAndDestroy();
      await until(() => reset);
      expect((await proxy.results[0])?.outcome).toMatch(/reset|error/);
    }
  });

  it('ends on the signal', async () => {
    const controller = new AbortController();
    const upstreamPort = await tcpServer((socket) => socket.once('data', () => socket.write(switching)));
    const proxy = await startProxy({ upstreamPort, signal: controller.signal });
    const client = await dial(proxy.port);
    client.write(upgrade());
    await readUntil(client, (text) => text.endsWith('\r\n\r\n'));
    controller.abort();
    expect((await readAll(client)).reset).toBe(true);
    expect(await proxy.results[0]).toMatchObject({ outcome: 'aborted', upgraded: true });
  });
});
