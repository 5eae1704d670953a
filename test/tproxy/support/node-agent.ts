// A minimal agent for tests, run inside a node's namespace and told what to do over IPC: both listeners, an
// interception, and nothing else. To a captured connection it says where it was going, or passes it on.
import { TproxyListener, Interception, InterfaceMonitor, dialUpstream, findHostInterface } from 'meshwright/tproxy';
import type {
  InterceptedConnection,
  InterceptionOptions,
  InterceptionPlan,
  RunCommand,
  TproxyEvent,
} from 'meshwright/tproxy';
import { formatSocketAddress } from 'meshwright/core';
import { runCommand } from '../../../src/tproxy/run-command.js';

export type Command =
  | { readonly op: 'listen'; readonly forward?: boolean; readonly keepSource?: boolean }
  | { readonly op: 'create'; readonly options: InterceptionOptions; readonly withoutNft?: boolean }
  | { readonly op: 'apply'; readonly plan: InterceptionPlan }
  | { readonly op: 'verify' | 'clear' | 'close' | 'describe' | 'counters' | 'monitor' | 'events' }
  | { readonly op: 'find'; readonly ip: string };

const events: unknown[] = [];
const runWithoutNft: RunCommand = (command, args, input) =>
  command === 'nft'
    ? Promise.resolve({ status: -1, stdout: '', stderr: 'nft: not found' })
    : runCommand(command, args, input);
let interception: Interception | undefined;

function answer(direction: string, { socket, originalDestination, source }: InterceptedConnection): void {
  const body = `${direction} ${formatSocketAddress(originalDestination)} from ${source.ip}\n`;
  const reply = (): void =>
    void socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`);
  socket.once('data', reply);
  socket.resume();
}

async function forward(
  { socket, originalDestination, source }: InterceptedConnection,
  keepSource: boolean,
): Promise<void> {
  const upstream = await dialUpstream({
    destination: originalDestination,
    sourceIp: keepSource ? source.ip : undefined,
    timeoutMs: 3000,
  });
  upstream.pipe(socket);
  socket.pipe(upstream);
  socket.once('close', () => upstream.destroy());
}

function started(): Interception {
  if (interception === undefined) throw new Error('no interception');
  return interception;
}

async function perform(command: Command): Promise<unknown> {
  switch (command.op) {
    case 'listen': {
      const observer = (event: TproxyEvent): void => void events.push(event);
      const handle = (direction: string) => (connection: InterceptedConnection) =>
        command.forward === true ? forward(connection, command.keepSource === true) : answer(direction, connection);
      await TproxyListener.listen({ port: 15_001, onConnection: handle('outbound'), observer });
      await TproxyListener.listen({ port: 15_006, onConnection: handle('inbound'), observer });
      return undefined;
    }
    case 'create':
      interception = await Interception.create({
        ...command.options,
        ...(command.withoutNft === true ? { run: runWithoutNft } : {}),
        observer: (event) => void events.push(event),
      });
      return interception.describe();
    case 'apply':
      return started().apply(command.plan);
    case 'verify':
      return started().verify();
    case 'clear':
      return started().clear();
    case 'close':
      return started().close();
    case 'describe':
      return started().describe();
    case 'counters':
      return started().counters();
    case 'find':
      return findHostInterface(command.ip);
    case 'monitor':
      await InterfaceMonitor.start({ onChange: (change) => void events.push({ type: 'interface', ...change }) });
      return undefined;
    case 'events':
      return events.splice(0);
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (message: { readonly id: number; readonly command: Command }) => {
  perform(message.command).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: unknown) => {
      const { message: text, code } = error as { message: string; code?: string };
      process.send?.({ id: message.id, error: { message: text, code } });
    },
  );
});
process.send?.({ id: 0, result: 'ready' });
