/** A node that announces one address by BGP, guarded by BFD: a process to be killed. One JSON argument; `ready` when it runs. */
import { BfdService } from '../../src/vip/bfd/index.js';
import { BgpSpeaker } from '../../src/vip/bgp/index.js';

interface AgentOptions {
  readonly local: string;
  readonly router: string;
  readonly localAs: number;
  readonly routerAs: number;
  readonly prefixes: readonly string[];
  readonly bfdIntervalMs: number;
  readonly bfdMultiplier: number;
  readonly drainMs: number;
}

const options = JSON.parse(process.argv[2] ?? '{}') as AgentOptions;
const { local, router } = options;
const speaker = await BgpSpeaker.create({
  localAs: options.localAs,
  routerId: local,
  drainMs: options.drainMs,
  peers: [
    {
      address: router,
      remoteAs: options.routerAs,
      localAddress: local,
      holdTimeSeconds: 9,
      families: ['ipv4'],
      connectRetryMs: 500,
      idleHoldMs: { first: 100, max: 1000 },
    },
  ],
});
const bfd = await BfdService.create();
let wasUp = false;
bfd.add({
  peer: router,
  local,
  txIntervalMs: options.bfdIntervalMs,
  rxIntervalMs: options.bfdIntervalMs,
  multiplier: options.bfdMultiplier,
  onChange: ({ state, diagnostic }) => {
    if (state === 'up') speaker.peerUp(router);
    else if (wasUp) speaker.peerDown(router, diagnostic);
    wasUp = state === 'up';
  },
});
for (const prefix of options.prefixes) speaker.announce({ prefix });
process.once('SIGTERM', () => {
  void (async () => {
    // BGP first: were BFD to end first, the router would drop the routes without a drain.
    await speaker.close();
    await bfd.close();
    process.exit(0);
  })();
});
process.stdout.write('ready\n');
