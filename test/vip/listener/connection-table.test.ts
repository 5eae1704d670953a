import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { socketAddress } from '../../../src/core/index.js';
import { ConnectionTable, isAt } from '../../../src/vip/connection-table.js';
import { describeRequiring } from '../../support/requirements.js';
import { until } from '../peers/until.js';

describeRequiring({ native: true }, 'ConnectionTable', () => {
  it.each([
    ['127.0.9.40', '0.0.0.0'],
    ['::1', '::'],
  ])(
    'counts the connections to %s of one port that are not finished, also those nobody has accepted',
    async (ip, all) => {
      const sockets: Socket[] = [];
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => void sockets.push(socket));
      server.listen(0, ip);
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const clients = Array.from({ length: 3 }, () => connect({ host: ip, port, allowHalfOpen: true }));
      onTestFinished(() => {
        for (const socket of [...clients, ...sockets]) socket.destroy();
        server.close();
      });
      await Promise.all(clients.map((client) => once(client, 'connect')));
      using table = new ConnectionTable();
      const count = (host: string, at: number): Promise<number> => table.unfinishedAt(socketAddress(host, at));
      expect(await count(ip, port)).toBe(3);
      expect(await count(all, port)).toBe(3);
      // The clients' own ends are connections to another port.
      expect(await count(ip, port === 65_535 ? 1 : port + 1)).toBe(0);
      await until('all are accepted', () => sockets.length === 3, { everyMs: 5 });
      // Ended here and confirmed there: what the client may still say is nobody's any more.
      sockets[0]?.end();
      await until('one is finished', async () => (await count(ip, port)) === 2, { everyMs: 5 });
      // Ended there, and not yet here.
      clients[1]?.end();
      expect(await count(ip, port)).toBe(2);
      for (const socket of sockets) socket.destroy();
      for (const client of clients) client.destroy();
      await until('all are', async () => (await count(ip, port)) === 0, { everyMs: 5 });
    },
  );

  it('is not confused by what is no answer', () => {
    const address = socketAddress('192.0.2.1', 80);
    const bytes = fc.uint8Array({ maxLength: 80 });
    fc.assert(
      fc.property(bytes, (message) => {
        // Four bytes of an address and two of a port do not come about by chance.
        expect(isAt(Buffer.from(message), address)).toBe(false);
      }),
    );
    const answer = Buffer.alloc(72);
    answer.writeUInt16BE(80, 4);
    answer.set([192, 0, 2, 1], 8);
    expect(isAt(answer, address)).toBe(true);
    expect(isAt(answer.subarray(0, 11), address)).toBe(false);
  });
});
