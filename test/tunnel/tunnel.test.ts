import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { isMeshwrightError } from '../../src/core/index.js';
import { TunnelRefused } from '../../src/tunnel/index.js';
import type { TunnelRequest } from '../../src/tunnel/index.js';
import { Rig, agentA, agentB, errorOf, readAll, until } from './support.js';

let rig: Rig;
afterEach(() => rig.stop());

describe('a stream', () => {
  test('carries bytes both ways and ends with half-close', async () => {
    const seen: TunnelRequest[] = [];
    rig = await Rig.start({
      onConnect: (request) => {
        seen.push(request);
        const stream = request.accept({ 'x-answer': 'yes' });
        stream.pipe(stream);
      },
    });
    const { stream, peer, headers } = await rig.connect('10.0.0.7:8080', { headers: { baggage: 'a=b' } });
    stream.write(Buffer.from('ping '));
    const first = (await once(stream, 'data')) as [Buffer];
    expect(first[0].toString()).toBe('ping ');
    stream.end('pong');
    expect((await readAll(stream)).toString()).toBe('pong');
    expect(peer.spiffeId.toString()).toBe(agentB);
    expect(headers['x-answer']).toBe('yes');
    expect(seen[0]?.authority).toBe('10.0.0.7:8080');
    expect(seen[0]?.peer.spiffeId.toString()).toBe(agentA);
    expect(seen[0]?.peer.keyThumbprint).toBe(rig.clientSvid.current.keyThumbprint);
    expect(seen[0]?.headers['baggage']).toBe('a=b');
    await until(() => rig.events.filter((event) => event.type === 'stream-closed').length === 2);
    expect(rig.events.filter((event) => event.type === 'stream-closed')).toEqual([
      expect.objectContaining({ outcome: 'eof', receivedBytes: 9, sentBytes: 9 }),
      expect.objectContaining({ outcome: 'eof', receivedBytes: 9, sentBytes: 9 }),
    ]);
  });

  test('carries 20 MiB unchanged against a slow reader', async () => {
    rig = await Rig.start();
    const { stream } = await rig.connect();
    const sent = createHash('sha256');
    const got = createHash('sha256');
    let received = 0;
    const reading = (async () => {
      for await (const chunk of stream) {
        received += (chunk as Buffer).length;
        got.update(chunk as Buffer);
        if (received % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();
    for (let index = 0; index < 320; index += 1) {
      const chunk = randomBytes(65_536);
      sent.update(chunk);
      if (!stream.write(chunk)) await once(stream, 'drain');
    }
    stream.end();
    await reading;
    expect(received).toBe(320 * 65_536);
    expect(got.digest('hex')).toBe(sent.digest('hex'));
  });

  test('is refused with a status and nothing else', async () => {
    rig = await Rig.start({ onConnect: (request) => request.refuse(403) });
    const refused = await rig.connect().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TunnelRefused);
    expect((refused as TunnelRefused).status).toBe(403);
    expect(isMeshwrightError(refused, 'TUNNEL_REFUSED')).toBe(true);
  });

  test('cut off by the server is not an end', async () => {
    rig = await Rig.start({
      onConnect: (request) => {
        const stream = request.accept();
        stream.on('error', () => undefined);
        stream.write(Buffer.from('half'));
        stream.once('data', () => stream.destroy());
      },
    });
    const { stream } = await rig.connect();
    let ended = false;
    stream.on('end', () => (ended = true));
    stream.resume();
    stream.write('go');
    expect((await errorOf(stream)).code).toBe('TUNNEL_STREAM_RESET');
    expect(ended).toBe(false);
  });

  test('cut off by the client is not an end', async () => {
    const outcome = new Promise<string>((resolve) => {
      void Rig.start({
        onConnect: (request) => {
          const stream = request.accept();
          stream.on('error', (error: Error & { code?: string }) => resolve(String(error.code)));
          stream.on('end', () => resolve('end'));
          stream.resume();
        },
      }).then(async (started) => {
        rig = started;
        const { stream } = await rig.connect();
        stream.write('an upload that ', () => stream.destroy());
      });
    });
    expect(await outcome).toBe('TUNNEL_STREAM_RESET');
  });
});
