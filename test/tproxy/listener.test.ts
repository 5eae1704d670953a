import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TproxyListener, dialUpstream } from 'meshwright/tproxy';
import type { TproxyEvent } from 'meshwright/tproxy';
import { afterEach, expect, test } from 'vitest';
import { describeRequiring } from '../support/requirements.js';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function echoServer(host: string): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  }).listen(0, host);
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

describeRequiring({ root: true, native: true }, 'dialUpstream', () => {
  test.each(['127.0.0.1', '::1'])('connects to %s with a mark, bytes and half-close intact', async (ip) => {
    const server = await echoServer(ip);
    const socket = await dialUpstream({ destination: { ip, port: server.port }, timeoutMs: 2000 });
    expect(socket.allowHalfOpen).toBe(true);
    socket.end('hello');
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe('hello');
  });

  test('keeps a source address that it is given', async () => {
    const server = await echoServer('127.0.0.1');
    const socket = await dialUpstream({
      destination: { ip: '127.0.0.1', port: server.port },
      sourceIp: '127.9.9.9',
      timeoutMs: 2000,
    });
    closers.push(() => socket.destroy());
    expect(socket.localAddress).toBe('127.9.9.9');
    socket.write('x');
    await once(socket, 'data');
    expect(server.sockets[0]?.remoteAddress).toBe('127.9.9.9');
  });

  test('reports a refusal, a mixed family, and an abort', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const destination = { ip: '127.0.0.1', port };
    await expect(dialUpstream({ destination, timeoutMs: 2000 })).rejects.toMatchObject({
      code: 'TPROXY_DIAL_FAILED',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
    await expect(dialUpstream({ destination, sourceIp: '::1', timeoutMs: 2000 })).rejects.toMatchObject({
      code: 'CORE_OPTION_INVALID',
    });
    const reason = new Error('no longer wanted');
    await expect(dialUpstream({ destination, timeoutMs: 2000, signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
  });
});

describeRequiring({ root: true, native: true }, 'TproxyListener', () => {
  test('refuses a connection to its own address, and goes on', async () => {
    const events: TproxyEvent[] = [];
    const delivered: unknown[] = [];
    const listener = await TproxyListener.listen({
      port: 0,
      onConnection: (c) => void delivered.push(c),
      observer: (e) => void events.push(e),
    });
    closers.push(() => listener.destroy());
    expect(listener.address.ip).toBe('::');
    for (const ip of ['127.0.0.1', '::1', '127.0.0.1']) {
      const socket = connect(listener.address.port, ip).on('error', () => undefined);
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
    }
    expect(delivered).toEqual([]);
    expect(events.map((event) => event.type === 'tproxy.connection-refused' && event.reason)).toEqual([
      'loop',
      'loop',
      'loop',
    ]);
    await listener.close();
    await listener.close();
  });

  test('a port in use and a bad option are clear errors', async () => {
    const listener = await TproxyListener.listen({ port: 0, onConnection: () => undefined });
    closers.push(() => listener.destroy());
    await expect(
      TproxyListener.listen({ port: listener.address.port, onConnection: () => undefined }),
    ).rejects.toMatchObject({
      code: 'TPROXY_LISTEN_FAILED',
      message: expect.stringContaining('EADDRINUSE') as string,
    });
    await expect(TproxyListener.listen({ port: 70_000, onConnection: () => undefined })).rejects.toMatchObject({
      code: 'CORE_OPTION_INVALID',
    });
  });
});

describeRequiring({ root: true, native: true, commands: ['setpriv'] }, 'without capabilities', () => {
  test('listener and dial name what is missing', async () => {
    const script = fileURLToPath(new URL('./uncapable-process.ts', import.meta.url));
    const { stdout } = await promisify(execFile)('setpriv', [
      ...['--bounding-set=-all', '--inh-caps=-all', '--', process.execPath],
      ...['--conditions=meshwright-source', '--import', 'tsx', script],
    ]);
    expect(JSON.parse(stdout)).toEqual({
      listen: { code: 'TPROXY_CAPABILITY_MISSING', capability: true },
      dial: { code: 'TPROXY_CAPABILITY_MISSING', capability: true },
      plainDial: 'connected',
      redirectListener: 'listening',
    });
  });
});
