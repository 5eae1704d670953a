/** What passes on a link, as a pcap file: by tcpdump, or by a stand-in where tcpdump cannot run. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { NetNamespace } from 'meshwright/testing';
import { controllerPort, tunnelPort } from './topology.js';
import { insideUserNamespace } from './user-namespace.js';

export interface Capture {
  /** Ends it and returns the frames. */
  stop(): Promise<readonly Buffer[]>;
}

export async function capture(space: NetNamespace, device: string, file: string): Promise<Capture> {
  const [command, args] = insideUserNamespace
    ? ['perl', [fileURLToPath(standIn), await indexOf(space, device), file]]
    : ['tcpdump', ['-i', device, '-s', '0', '-U', '--immediate-mode', '-Z', 'root', '-w', file]];
  const child = space.spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  await new Promise<void>((resolve, reject) => {
    child.once('close', () => reject(new Error(`${command} on ${device} ended: ${text.trim()}`)));
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('listening on')) resolve();
    });
  });
  return {
    async stop() {
      // What is still in the kernel's buffer belongs to the capture.
      await new Promise((resolve) => setTimeout(resolve, 400));
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGINT');
      await ended;
      return frames(await readFile(file));
    },
  };
}

/** TCP ports of a frame, source first; undefined for anything else than TCP over IPv4 or IPv6 (without extension headers). */
export function tcpPorts(frame: Buffer): readonly [number, number] | undefined {
  const type = frame.readUInt16BE(12);
  const [protocol, start] =
    type === 0x0800 ? [frame[23], 14 + ((frame[14] ?? 0) & 0xf) * 4] : type === 0x86dd ? [frame[20], 54] : [];
  if (protocol !== 6 || start === undefined || frame.length < start + 4) return undefined;
  return [frame.readUInt16BE(start), frame.readUInt16BE(start + 2)];
}

/** TCP packets that belong neither to the tunnel nor to the control plane. */
export function packetsOutsideTunnel(captured: readonly Buffer[]): readonly Buffer[] {
  return captured.filter((frame) => {
    const ports = tcpPorts(frame);
    return ports !== undefined && !ports.includes(tunnelPort) && !ports.includes(controllerPort);
  });
}

const standIn = new URL('../../../examples/demo/apps/capture.pl', import.meta.url);
const fileHeaderBytes = 24;
const recordHeaderBytes = 16;

/** The frames of a pcap file of this machine's byte order (little-endian). */
function frames(file: Buffer): Buffer[] {
  if (file.length < fileHeaderBytes || file.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error('not a pcap file');
  const found: Buffer[] = [];
  for (let at = fileHeaderBytes; at + recordHeaderBytes <= file.length;) {
    const length = file.readUInt32LE(at + 8);
    found.push(file.subarray(at + recordHeaderBytes, at + recordHeaderBytes + length));
    at += recordHeaderBytes + length;
  }
  return found;
}

async function indexOf(space: NetNamespace, device: string): Promise<string> {
  return /^(\d+):/.exec(await space.ip('-o', 'link', 'show', 'dev', device))?.[1] ?? '';
}
