import { readFileSync } from 'node:fs';
import type { TcpHints } from './transport.js';

const md5Counters = ['TCPMD5NotFound', 'TCPMD5Unexpected', 'TCPMD5Failure'];

/** Reads /proc/net/netstat: pairs of lines, names above values. Undefined when there is none. */
export function readTcpHints(path = '/proc/thread-self/net/netstat'): TcpHints | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  return parseTcpHints(text);
}

export function parseTcpHints(text: string): TcpHints | undefined {
  const [names = '', values = ''] = text.split('\n').filter((line) => line.startsWith('TcpExt:'));
  const value = values.split(' ');
  const counters = new Map(names.split(' ').map((name, index) => [name, Number(value[index] ?? 0)]));
  if (!counters.has('TCPMD5Failure')) return undefined;
  return {
    md5Failures: md5Counters.reduce((sum, name) => sum + (counters.get(name) ?? 0), 0),
    ttlDrops: counters.get('TCPMinTTLDrop') ?? 0,
  };
}
