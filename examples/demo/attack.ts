/**
 * An attacker's program, run in a namespace of the lab with what it is given on standard input: certificates and tokens,
 * its own or stolen ones. It only uses the library's public tunnel client. Prints one JSON line per attempt.
 */
import { generateKeyPairSync } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { SpiffeCA } from 'meshwright/ca';
import { parseSocketAddress } from 'meshwright/core';
import { TrustBundle, TrustDomain, X509Svid, verifyX509Svid, workloadTokenHeader } from 'meshwright/spiffe';
import { Http2MtlsTunnel } from 'meshwright/tunnel';

/** A certificate with its key, as PEM. */
export interface StolenIdentity {
  readonly chainPem: string;
  readonly privateKeyPem: string;
  /** SPIFFE bundle it came with: public knowledge. */
  readonly bundle: unknown;
}

export interface AttackOrder {
  readonly trustDomain: string;
  /** SPIFFE bundle of the mesh: public knowledge. */
  readonly bundle: unknown;
  /** `IP:port` of the tunnel that is attacked. */
  readonly address: string;
  /** SPIFFE ID that must answer there. */
  readonly peer: string;
  readonly attempts: readonly {
    readonly name: string;
    readonly authority: string;
    /** A stolen certificate, or one that the attacker issues to itself for this SPIFFE ID from a CA of its own. */
    readonly identity: StolenIdentity | { readonly selfIssued: string; readonly trustDomain: string };
    /** A stolen token, or one the attacker signs itself for this workload. */
    readonly token?: string | { readonly forgedFor: string; readonly node: string } | undefined;
  }[];
}

export async function runAttack(): Promise<void> {
  const order = JSON.parse(await text(process.stdin)) as AttackOrder;
  const bundle = TrustBundle.parse(order.bundle, TrustDomain.parse(order.trustDomain));
  for (const attempt of order.attempts) {
    const svid = await identityOf(attempt.identity);
    const outcome = await (acceptable(svid, bundle) ? askForStream(order, attempt, svid, bundle) : knock(order, svid));
    process.stdout.write(`${JSON.stringify({ name: attempt.name, outcome })}\n`);
  }
}

/** Whether our own tunnel client would use such a certificate; for others the attacker speaks TLS by itself. */
function acceptable(svid: X509Svid, bundle: TrustBundle): boolean {
  try {
    verifyX509Svid({ certificates: svid.certificates, bundle, now: Date.now() });
    return true;
  } catch {
    return false;
  }
}

async function askForStream(
  order: AttackOrder,
  attempt: AttackOrder['attempts'][number],
  svid: X509Svid,
  bundle: TrustBundle,
): Promise<string> {
  const client = Http2MtlsTunnel.client({ svid, bundle });
  try {
    const token = await tokenOf(order, attempt.token, svid);
    const { stream } = await client.connect({
      address: order.address,
      authority: attempt.authority,
      peer: order.peer,
      headers: token === undefined ? {} : { [workloadTokenHeader]: token },
      signal: AbortSignal.timeout(5_000),
    });
    stream.destroy();
    return '200';
  } catch (error) {
    const { status, code, message } = error as { status?: number; code?: string; message: string };
    return status === undefined ? `no answer (${code ?? message})` : String(status);
  } finally {
    client.destroy();
  }
}

/** A bare TLS connection with this certificate: does the other side let it live? */
function knock(order: AttackOrder, svid: X509Svid): Promise<string> {
  const { ip, port } = parseSocketAddress(order.address);
  return new Promise((resolve) => {
    const socket = connect({
      host: ip,
      port,
      cert: svid.chainPem,
      key: svid.privateKeyPem,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    });
    socket.once('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve('no tunnel'));
    socket.setTimeout(3_000, () => {
      resolve('still open');
      socket.destroy();
    });
    socket.resume();
  });
}

async function identityOf(identity: AttackOrder['attempts'][number]['identity']): Promise<X509Svid> {
  if (!('selfIssued' in identity)) return X509Svid.fromPem(identity);
  const ca = await SpiffeCA.create({ trustDomain: identity.trustDomain });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await ca.issueX509Svid({ spiffeId: identity.selfIssued, publicKey });
  return X509Svid.fromPem({ chainPem, privateKey });
}

async function tokenOf(
  order: AttackOrder,
  token: AttackOrder['attempts'][number]['token'],
  svid: X509Svid,
): Promise<string | undefined> {
  if (token === undefined || typeof token === 'string') return token;
  const forger = await SpiffeCA.create({ trustDomain: order.trustDomain });
  const issued = await forger.tokens({ registry: { runsOn: () => true } }).issue({
    node: token.node,
    workload: token.forgedFor,
    confirmationKey: svid.keyThumbprint,
  });
  return issued.token;
}
