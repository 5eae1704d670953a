/** New connections that are held back, in the kernel: a client and a listener in namespaces of their own. */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { socketAddress } from '../../../src/core/index.js';
import { NetnsLab } from '../../../src/testing/index.js';
import type { NetNamespace } from '../../../src/testing/index.js';
import { VipListener } from '../../../src/vip/index.js';
import { describeRequiring } from '../../support/requirements.js';
import { inNamespace } from '../manager/in-namespace.js';
import { until } from '../peers/until.js';

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
/** What a client sees that connects, sends a line and reads to the end; one line for each event. */
const clientProgram = `
const socket = require('node:net').connect(Number(process.argv[2]), process.argv[1], () => console.log('connected'));
socket.on('data', (chunk) => console.log(String(chunk)));
socket.on('error', (error) => console.log(error.code));
socket.on('close', () => console.log('closed'));
socket.write('hello');
console.log('asked');
process.stdin.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end());
`;

describeRequiring({ netns: true, native: true, commands: ['nft'] }, 'a VipListener that holds', () => {
  let lab: NetnsLab;
  let node: NetNamespace;
  let client: NetNamespace;
  let port = 4000;

  beforeAll(async () => {
    lab = await NetnsLab.create();
    node = await lab.namespace('node');
    client = await lab.namespace('client');
    await lab.link(
      { namespace: node, device: 'eth0', addresses: ['10.9.0.1/24', 'fd09::1/64'] },
      { namespace: client, device: 'eth0', addresses: ['10.9.0.2/24', 'fd09::2/64'] },
    );
  });
  afterAll(() => lab.close());

  async function listening(ip: string, onSocket: (socket: Socket) => void = (socket) => void socket.pipe(socket)) {
    port += 1;
    const sockets: Socket[] = [];
    const listener = await inNamespace(node, () =>
      VipListener.listen({
        address: socketAddress(ip, port),
        onConnection: ({ socket }) => {
          sockets.push(socket);
          onSocket(socket);
        },
      }),
    );
    onTestFinished(() => listener.destroy());
    return { listener, sockets };
  }

  function connecting(ip: string) {
    const child = client.spawn(process.execPath, ['-e', clientProgram, ip, String(port)], { stdio: 'pipe' });
    const said: string[] = [];
    child.stdout?.on('data', (chunk: Buffer) => said.push(...chunk.toString().trim().split('\n')));
    onTestFinished(() => void child.kill('SIGKILL'));
    return {
      said,
      says: (text: string) =>
        until(`the client says ${text}`, () => said.includes(text), { everyMs: 5, seen: () => said }),
      send: (text: string) => void child.stdin?.write(text),
      end: () => void child.stdin?.end(),
    };
  }

  /** While it stands, nothing of this kind leaves the client. */
  async function drops(what: string): Promise<() => Promise<void>> {
    const rules = `table inet t { chain out { type filter hook output priority 0; ${what} drop; }; }`;
    await client.exec('nft', ['-f', '-'], { input: rules });
    return async () => void (await client.exec('nft', ['delete', 'table', 'inet', 't']));
  }

  describe.each([
    ['IPv4', '10.9.0.1'],
    ['IPv6', 'fd09::1'],
  ])('over %s', (_, ip) => {
    it('neither takes nor refuses a new connection, serves those that are open, and takes it once it holds no more', async () => {
      const { listener } = await listening(ip);
      const before = connecting(ip);
      await before.says('hello');
      const hold = listener.hold();
      expect(listener.held).toBe(true);
      const held = connecting(ip);
      before.send('still there');
      await before.says('still there');
      await held.says('asked');
      await pass(300);
      expect(held.said).toEqual(['asked']);
      expect(listener.connections).toBe(1);
      hold[Symbol.dispose]();
      expect(listener.held).toBe(false);
      await held.says('hello');
    });

    it('completes a handshake that was under way, and waits for what came of it', async () => {
      const { listener } = await listening(ip);
      // The SYN leaves, and nothing after it.
      const allow = await drops('tcp flags & (syn | ack) == ack');
      const half = connecting(ip);
      await half.says('connected');
      const stop = new AbortController();
      let quiet = false;
      const quiesced = inNamespace(node, () => listener.quiesce({ signal: stop.signal })).then(() => (quiet = true));
      await pass(100);
      expect([quiet, listener.connections]).toEqual([false, 0]);
      await allow();
      await half.says('hello');
      expect([quiet, listener.held]).toEqual([false, true]);
      half.end();
      await half.says('closed');
      await quiesced;
      expect(listener.held).toBe(true);
      stop.abort();
      expect(listener.held).toBe(false);
      await connecting(ip).says('hello');
    });

    it('waits until the client has confirmed the last byte, though the program has closed the connection', async () => {
      const { listener, sockets } = await listening(ip, (socket) => void socket.resume());
      const last = connecting(ip);
      await last.says('connected');
      await until('it is taken', () => sockets.length === 1, { everyMs: 5 });
      const allow = await drops('meta l4proto tcp');
      const stop = new AbortController();
      let quiet = false;
      const quiesced = inNamespace(node, () => listener.quiesce({ signal: stop.signal })).then(() => (quiet = true));
      sockets[0]?.end('bye', () => sockets[0]?.destroy());
      await last.says('bye');
      await pass(100);
      expect([quiet, listener.connections]).toEqual([false, 0]);
      await allow();
      await quiesced;
      stop.abort();
    });
  });

  it('resolves when the hold is over, though a connection is open', async () => {
    const { listener } = await listening('10.9.0.1');
    await connecting('10.9.0.1').says('hello');
    const stop = new AbortController();
    const quiesced = inNamespace(node, () => listener.quiesce({ signal: stop.signal }));
    await pass(20);
    stop.abort();
    await quiesced;
    expect([listener.held, listener.connections]).toEqual([false, 1]);
    // One that is over already changes nothing.
    await listener.quiesce({ signal: stop.signal });
    expect(listener.held).toBe(false);
  });

  it('counts its holds, each once, and touches no socket that is not its own any more', async () => {
    const { listener } = await listening('10.9.0.1');
    const [one, two] = [listener.hold(), listener.hold()];
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    expect(listener.held).toBe(true);
    const waiting = connecting('10.9.0.1');
    await waiting.says('asked');
    await pass(100);
    expect(waiting.said).toEqual(['asked']);
    const closed = listener.close();
    // Throws where it detaches a filter from what now has the number.
    two[Symbol.dispose]();
    listener.hold()[Symbol.dispose]();
    await closed;
    await waiting.says('ECONNREFUSED');
    await listener.quiesce({ signal: new AbortController().signal });
  });
});
