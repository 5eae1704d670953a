import { text } from 'node:stream/consumers';
import { CaClient } from 'meshwright/ca';
import { controlPlaneTransport } from 'meshwright/mesh';
import { SpiffeId, TrustBundle, TrustDomain, X509Svid, controllerId } from 'meshwright/spiffe';
import { controllerAddress, controllerPort } from './topology.js';

/** Asks the CA for a workload token with a node's own identity, as a compromised node could; prints the answer's code. */
export async function askForWorkloadToken(): Promise<void> {
  const order = JSON.parse(await text(process.stdin)) as {
    readonly identity: { readonly chainPem: string; readonly privateKeyPem: string; readonly bundle: unknown };
    readonly workload: string;
  };
  const trustDomain = TrustDomain.parse('cluster.local');
  const transport = controlPlaneTransport({
    address: { ip: controllerAddress, port: controllerPort },
    svid: X509Svid.fromPem(order.identity),
    bundle: TrustBundle.parse(order.identity.bundle, trustDomain),
    controller: controllerId(trustDomain),
  });
  try {
    await new CaClient({ transport, trustDomain }).issueWorkloadToken(SpiffeId.parse(order.workload));
    process.stdout.write('issued\n');
  } catch (error) {
    process.stdout.write(`${String((error as { code?: unknown }).code)}\n`);
  } finally {
    await transport.close();
  }
}
