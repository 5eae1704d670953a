/** The control plane of a test mesh: the library's own server in front of its CA, on loopback. */
import { SvidRenewer, caRoutes, localGrants } from '../ca/index.js';
import type { SpiffeCA, WorkloadTokenIssuer } from '../ca/index.js';
import { formatSocketAddress } from '../core/index.js';
import type { Logger } from '../core/index.js';
import { ControlPlaneServer, peerOf } from '../mesh/index.js';
import type { ControlPlanePeer } from '../mesh/index.js';
import { controllerId } from '../spiffe/index.js';

export interface TestController {
  /** `ip:port`. */
  readonly address: string;
  /** The authenticated peers connected now. */
  readonly peers: readonly ControlPlanePeer[];
  close(): Promise<void>;
}

export async function startTestController(options: {
  readonly ca: SpiffeCA;
  readonly issuer: WorkloadTokenIssuer;
  readonly logger: Logger;
}): Promise<TestController> {
  const { ca, issuer, logger } = options;
  const grant = localGrants(ca, controllerId(ca.trustDomain));
  const own = await SvidRenewer.start({
    spiffeId: controllerId(ca.trustDomain),
    attest: grant,
    renew: () => grant,
    rootChangeSpreadMs: 0,
    logger,
  });
  const following = ca.bundle.subscribe((bundle) => void own.acceptBundle(bundle));
  const server = await ControlPlaneServer.listen({
    port: 0,
    svid: own.svid,
    bundle: ca.bundle,
    routes: [caRoutes({ ca, tokens: issuer, joinTokens: await ca.joinTokens(), peerOf, logger })],
    logger,
  });
  return {
    address: formatSocketAddress(server.address),
    get peers() {
      return server.peers;
    },
    close: async () => {
      following[Symbol.dispose]();
      server.destroy();
      await Promise.all([server.close(), own.close()]);
    },
  };
}
