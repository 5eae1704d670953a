/**
 * HTTP requests from a client through the data path to a server: straight, within one node, and through a tunnel between
 * two nodes, where the whole connection is allowed at once and where every request is judged. Client, both agents and
 * server share this process, so the figures are the cost of the path, not what machines of their own would carry.
 */
import { Agent, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from 'meshwright/core';
import type { SocketAddress } from 'meshwright/core';
import { createTestMesh } from 'meshwright/testing';
import { compare } from './support.js';

const requestsPerRun = 2_000;
const atOnce = 16;

const answer = Buffer.alloc(1024, 'x');
const direct = createServer((_request, response) => response.end(answer)).listen(0, '127.0.0.1');
await new Promise((resolve) => direct.once('listening', resolve));

const policy = (service: string, rules: readonly object[]): Record<string, unknown> => ({
  apiVersion: 'novaedge.io/v1alpha1',
  kind: 'ProxyPolicy',
  metadata: { name: `${service}-clients`, namespace: 'shop' },
  spec: {
    type: 'MeshAuthorization',
    targetRef: { kind: 'Service', name: service },
    meshAuthorization: { action: 'ALLOW', rules },
  },
});
const serve = {
  servers: { 8080: (_request: unknown, response: { end(body: Buffer): unknown }) => response.end(answer) },
};
const from = [{ namespaces: ['front'] }];
const mesh = await createTestMesh({
  clock: systemClock,
  workloads: {
    'front/web': { node: 'a' },
    'shop/whole': { node: 'b', ...serve },
    'shop/judged': { node: 'b', ...serve },
    'shop/near': { node: 'a', ...serve },
  },
  services: {
    'shop/whole': { workloads: ['shop/whole'] },
    'shop/judged': { workloads: ['shop/judged'] },
    'shop/near': { workloads: ['shop/near'] },
  },
  policies: [
    policy('whole', [{ from }]),
    policy('near', [{ from }]),
    policy('judged', [{ from, to: [{ methods: ['GET'], paths: ['/api/**'] }] }]),
  ],
});
const web = mesh.workload('front/web');

function contender(name: string, to: SocketAddress, keepAlive: boolean, count = requestsPerRun) {
  const agent = new Agent({ keepAlive, maxSockets: atOnce });
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      request({ host: to.ip, port: to.port, path: '/api/v1/items', agent }, (response) => {
        response.resume();
        response.once('end', () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`status ${String(response.statusCode)}`));
        });
      })
        .once('error', reject)
        .end();
    });
  return {
    name,
    run: async () => {
      let left = count;
      const worker = async (): Promise<void> => {
        while (left > 0) {
          left -= 1;
          await one();
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      return { units: count };
    },
  };
}

const straight = { ip: '127.0.0.1', port: (direct.address() as AddressInfo).port };
const listener = (service: string): Promise<SocketAddress> => web.listenerFor(`${service}.shop:8080`);
await compare({
  title: 'requests on kept-alive connections',
  unit: 'request',
  contenders: [
    contender('straight', straight, true),
    contender('one node, allowed as a whole', await listener('near'), true),
    contender('tunnel, allowed as a whole', await listener('whole'), true),
    contender('tunnel, every request judged', await listener('judged'), true),
  ],
});
await compare({
  title: 'requests, each on a new connection',
  unit: 'request',
  contenders: [
    contender('straight', straight, false, 500),
    contender('tunnel, allowed as a whole', await listener('whole'), false, 500),
    contender('tunnel, every request judged', await listener('judged'), false, 500),
  ],
});
await mesh.close();
direct.close();
direct.closeAllConnections();
