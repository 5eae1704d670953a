/** How long clients of a keepalived pair go without an answer: the peer of the failover benchmark on layer 2. */
import { setTimeout as delay } from 'node:timers/promises';
import { NetnsLab } from 'meshwright/testing';
import { Keepalived, vrrpInstance } from '../../test/vip/peers/keepalived.js';
import { AskingClient, monotonicMs, startAnswering } from './client.js';

export interface KeepalivedOptions {
  /** Default: keepalived's own, 1 s of VRRP version 2. */
  readonly advertSeconds?: number | undefined;
  /** `kill`: SIGKILL of keepalived and of the server on the owning node. `stop`: an orderly end of keepalived. Default `kill`. */
  readonly how?: 'kill' | 'stop' | undefined;
}

export interface FailoverSample {
  /** From the signal to the first answer of the other node. */
  readonly failoverMs: number;
  /** Questions asked in between, one every 10 ms, that got no answer. */
  readonly lost: number;
}

const ip = '10.20.0.100';

/** One failover of a pair made for it: two nodes and a client on one segment, in namespaces that are gone afterwards. */
export async function keepalivedFailover(options: KeepalivedOptions = {}): Promise<FailoverSample> {
  const { advertSeconds, how = 'kill' } = options;
  await using lab = await NetnsLab.create();
  const [segment, one, two, clientNamespace] = [
    await lab.namespace('segment'),
    await lab.namespace('one'),
    await lab.namespace('two'),
    await lab.namespace('client'),
  ];
  await segment.bridge('br0');
  for (const [index, namespace] of [one, two, clientNamespace].entries()) {
    await lab.link(
      { namespace: segment, device: `v${String(index)}`, bridge: 'br0' },
      { namespace, device: 'eth0', addresses: [`10.20.0.${String(index + 1)}/24`] },
    );
  }
  const server = await startAnswering(one, 'one');
  await startAnswering(two, 'two');
  const configure = (priority: number): string => vrrpInstance({ priority, addresses: [`${ip}/24`], advertSeconds });
  await using owner = await Keepalived.start(one, configure(150));
  await using backup = await Keepalived.start(two, configure(100));
  void backup;
  using client = new AskingClient(clientNamespace, ip);
  await client.answerOf('one');
  // Past its second volley of gratuitous ARP (five seconds after the first), at no special moment between advertisements.
  await delay(6000 + (monotonicMs() % 1000));
  const sinceMs = monotonicMs();
  if (how === 'kill') {
    owner.kill();
    server.kill('SIGKILL');
  } else {
    void owner.stop();
  }
  const { answeredMs } = await client.answerOf('two', { sinceMs });
  // An answer to an earlier question may still be on its way.
  await delay(50);
  return { failoverMs: answeredMs - sinceMs, lost: client.unanswered(sinceMs, answeredMs).length };
}
