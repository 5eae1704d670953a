// Run without capabilities: prints what listening and dialling say.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { TproxyListener, dialUpstream } from 'meshwright/tproxy';

async function failure(action: Promise<unknown>): Promise<unknown> {
  try {
    await action;
    return 'no error';
  } catch (error) {
    return { code: (error as { code: string }).code, capability: (error as Error).message.includes('CAP_NET_ADMIN') };
  }
}

const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
await once(server, 'listening');
const destination = { ip: '127.0.0.1', port: (server.address() as AddressInfo).port };
const onConnection = (): void => undefined;
const listen = await failure(TproxyListener.listen({ port: 0, onConnection }));
const dial = await failure(dialUpstream({ destination, timeoutMs: 2000 }));
const socket = await dialUpstream({ destination, timeoutMs: 2000, withoutCapability: 'plain' });
socket.destroy();
const redirect = await TproxyListener.listen({ port: 0, mode: 'redirect', mark: 0, onConnection });
redirect.destroy();
server.close();
process.stdout.write(JSON.stringify({ listen, dial, plainDial: 'connected', redirectListener: 'listening' }));
