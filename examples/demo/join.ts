import { generateKeyPairSync } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { CaClient, createCsr } from 'meshwright/ca';
import { joinTransport } from 'meshwright/mesh';
import { TrustDomain } from 'meshwright/spiffe';
import type { StolenIdentity } from './attack.js';
import { controllerAddress, controllerPort } from './topology.js';

/** What joining brought: an identity, or the code of the refusal. */
export interface JoinResult {
  readonly code: string;
  readonly identity?: StolenIdentity | undefined;
}

/** Joins with a join token, as whoever holds it can; prints a `JoinResult`. */
export async function joinOnce(): Promise<void> {
  const { token, rootPin } = JSON.parse(await text(process.stdin)) as { token: string; rootPin: string };
  const trustDomain = TrustDomain.parse('cluster.local');
  const address = { ip: controllerAddress, port: controllerPort };
  const transport = joinTransport({ address, rootPin, trustDomain });
  let result: JoinResult;
  try {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const csr = await createCsr(privateKey);
    const { certificates, bundle } = await new CaClient({ transport, trustDomain }).join({ token, csr });
    const chainPem = certificates
      .map((der) => `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`)
      .join('');
    const privateKeyPem = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    result = { code: 'joined', identity: { chainPem, privateKeyPem, bundle: bundle.toJSON() } };
  } catch (error) {
    result = { code: String((error as { code?: unknown }).code) };
  } finally {
    await transport.close();
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
