import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { splice } from '../../src/internal/splice.js';
import { Rig, echo, errorOf, readAll, until } from './support.js';

let rig: Rig;
afterEach(() => rig.stop());

describe('what is written', () => {
  test('arrives byte for byte from an http.Server on the stream: no heap garbage', async () => {
    // Strings that Node would cork: status line and headers, then an empty and a non-empty string.
    const server = http.createServer({ keepAlive: true }, (request, response) => {
      request.resume();
      response.writeHead(200, { 'x-path': request.url ?? '' });
      response.write('');
      response.write(`body of ${request.url ?? ''} `);
      response.end('end');
    });
    rig = await Rig.start({ onConnect: (request) => void server.emit('connection', request.accept()) });
    const rounds = 300;
    let intact = 0;
    for (let index = 0; index < rounds; index += 1) {
      const { stream } = await rig.connect();
      stream.end(`GET /${String(index)} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
      const text = (await readAll(stream)).toString('latin1');
      if (
        text.startsWith('HTTP/1.1 200 OK\r\nx-path: /') &&
        text.includes(`body of /${String(index)} `) &&
        text.endsWith('0\r\n\r\n')
      )
        intact += 1;
    }
    expect(intact).toBe(rounds);
    server.close();
  });

  test('may be strings, empty chunks and corked ones, in any mixture', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const expected: Buffer[] = [];
    const put = (chunk: string | Buffer): void => {
      expected.push(Buffer.from(chunk as string));
      stream.write(chunk);
    };
    for (let index = 0; index < 200; index += 1) {
      stream.cork();
      put(`line ${String(index)} é\n`);
      put('');
      put(randomBytes(index));
      put(Buffer.alloc(0));
      stream.uncork();
      stream.write('00ff', 'hex');
      expected.push(Buffer.from('00ff', 'hex'));
    }
    stream.end();
    expect((await readAll(stream)).equals(Buffer.concat(expected))).toBe(true);
  });

  test('is held back when the other end does not read', async () => {
    let accepted: Duplex | undefined;
    rig = await Rig.start({
      onConnect: (request) => void (accepted = request.accept()),
      limits: { streamWindowBytes: 65_535 },
    });
    const { stream } = await rig.connect();
    let written = 0;
    while (written < 64 << 20 && stream.write(Buffer.alloc(65_536))) written += 65_536;
    await new Promise((resolve) => setTimeout(resolve, 100));
    while (written < 64 << 20 && stream.write(Buffer.alloc(65_536))) written += 65_536;
    expect(written).toBeLessThan(4 << 20);
    expect(accepted?.readableLength ?? 0).toBeLessThan(1 << 20);
    stream.destroy();
  });

  test('on one stalled stream does not stop the others', async () => {
    rig = await Rig.start({
      onConnect: (request) => (request.authority === '10.0.0.9:1' ? void request.accept() : echo(request)),
    });
    const stalled = await Promise.all(Array.from({ length: 4 }, async () => (await rig.connect('10.0.0.9:1')).stream));
    for (const stream of stalled) while (stream.writableLength < 6 << 20) stream.write(Buffer.alloc(1 << 20));
    const { stream } = await rig.connect();
    stream.end(Buffer.alloc(2 << 20));
    expect((await readAll(stream)).length).toBe(2 << 20);
    for (const one of stalled) one.destroy();
  });
});

describe('half-close', () => {
  test('either side may end first and still receive', async () => {
    rig = await Rig.start({
      onConnect: (request) => {
        const stream = request.accept();
        stream.end('first');
        void readAll(stream).then((bytes) => (said = bytes.toString()));
      },
    });
    let said: string | undefined;
    const { stream } = await rig.connect();
    expect((await readAll(stream)).toString()).toBe('first');
    stream.write('still ');
    await new Promise((resolve) => setTimeout(resolve, 20));
    stream.end('here');
    await until(() => said === 'still here');
  });
});

describe('a truncated transfer', () => {
  test('is no end at the far end, whichever way the near socket died', async () => {
    const received: { outcome?: string | undefined; bytes: number }[] = [];
    rig = await Rig.start({
      onConnect: (request) => {
        const stream = request.accept();
        const entry: (typeof received)[number] = { bytes: 0 };
        received.push(entry);
        stream.on('data', (chunk: Buffer) => (entry.bytes += chunk.length));
        stream.on('end', () => (entry.outcome = 'end'));
        stream.on('error', (error: Error & { code?: string }) => (entry.outcome = error.code));
      },
    });
    const agent = net.createServer({ allowHalfOpen: true }, (socket) => {
      void rig.connect().then(({ stream }) => splice(socket, stream));
    });
    await once(agent.listen(0, '127.0.0.1'), 'listening');
    const { port } = agent.address() as net.AddressInfo;
    let uploads = 0;
    const upload = async (): Promise<net.Socket> => {
      uploads += 1;
      const socket = net.connect({ port, host: '127.0.0.1' }).on('error', () => undefined);
      await new Promise<void>((resolve) => socket.write('an upload that', () => resolve()));
      await until(() => received.length === uploads && received.at(-1)?.bytes === 14);
      return socket;
    };
    (await upload()).resetAndDestroy();
    await until(() => received[0]?.outcome !== undefined);
    (await upload()).end();
    await until(() => received[1]?.outcome !== undefined);
    expect(received.map(({ outcome }) => outcome)).toEqual(['TUNNEL_STREAM_RESET', 'end']);
    agent.close();
  });

  test('is a TCP reset at the application behind the far end', async () => {
    const application = net.createServer({ allowHalfOpen: true });
    await once(application.listen(0, '127.0.0.1'), 'listening');
    const { port } = application.address() as net.AddressInfo;
    rig = await Rig.start({
      onConnect: (request) => {
        const upstream = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
        upstream.once('connect', () => void splice(request.accept(), upstream));
      },
    });
    const accepted = once(application, 'connection') as Promise<[net.Socket]>;
    const { stream } = await rig.connect();
    const [socket] = await accepted;
    stream.write('an upload that');
    await once(socket, 'data');
    stream.destroy();
    expect((await errorOf(socket)).code).toBe('ECONNRESET');
    application.close();
  });

  test('a session that dies cuts its streams, it does not end them', async () => {
    rig = await Rig.start({ onConnect: (request) => void request.accept().write('part') });
    const { stream } = await rig.connect();
    const hash = createHash('sha256');
    stream.on('data', (chunk: Buffer) => hash.update(chunk));
    let ended = false;
    stream.on('end', () => (ended = true));
    await once(stream, 'data');
    rig.server.destroy();
    expect((await errorOf(stream)).code).toBe('TUNNEL_STREAM_RESET');
    expect(ended).toBe(false);
  });

  test('an error nobody listens to does not end the process', async () => {
    rig = await Rig.start({ onConnect: (request) => void setTimeout(() => request.accept().destroy(), 0) });
    const { stream } = await rig.connect().catch(() => ({ stream: undefined }));
    await until(() => stream?.destroyed !== false);
  });
});
