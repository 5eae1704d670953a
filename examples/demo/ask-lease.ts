/** What a node can do about the lease of a virtual IP with its own identity, as a compromised node could. */
import { text } from 'node:stream/consumers';
import type { LeaseOwner } from 'meshwright/core';
import { ControllerLeaseStore, controlPlaneTransport } from 'meshwright/mesh';
import { TrustBundle, TrustDomain, X509Svid, controllerId } from 'meshwright/spiffe';
import type { StolenIdentity } from './attack.js';
import { controllerAddress, controllerPort } from './topology.js';

export interface LeaseOrder {
  readonly identity: StolenIdentity;
  readonly lease: string;
  /** `acquire`: for this holder. `rob`: gives back the lease of whoever has it. `watch`: asks who has it. */
  readonly action: { readonly acquireFor: string } | 'rob' | 'watch';
}

/** Who has the lease when it is done, and what became of it; the fencing token as decimal digits. */
export interface LeaseAnswer {
  readonly outcome: 'done' | 'acquired' | 'held by another' | 'refused' | 'failed';
  readonly detail: string;
  readonly holder?: string | undefined;
  readonly fencingToken?: string | undefined;
}

/** The status of gRPC. */
const permissionDenied = 7;

/** Reads a `LeaseOrder`, prints a `LeaseAnswer`. */
export async function askForLease(): Promise<void> {
  const order = JSON.parse(await text(process.stdin)) as LeaseOrder;
  const trustDomain = TrustDomain.parse('cluster.local');
  const transport = controlPlaneTransport({
    address: { ip: controllerAddress, port: controllerPort },
    svid: X509Svid.fromPem(order.identity),
    bundle: TrustBundle.parse(order.identity.bundle, trustDomain),
    controller: controllerId(trustDomain),
  });
  let answer: LeaseAnswer;
  try {
    answer = await act(new ControllerLeaseStore({ transport }), order);
  } catch (error) {
    const { message, cause } = error as { readonly message: string; readonly cause?: { readonly code?: unknown } };
    answer = { outcome: cause?.code === permissionDenied ? 'refused' : 'failed', detail: message };
  } finally {
    await transport.close();
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function act(leases: ControllerLeaseStore, { lease, action }: LeaseOrder): Promise<LeaseAnswer> {
  if (typeof action === 'object') {
    const result = await leases.acquire(lease, { holder: action.acquireFor, ttlMs: 1_000 });
    const { holder, fencingToken } = result.acquired ? result.lease : result;
    const outcome = result.acquired ? 'acquired' : 'held by another';
    return { outcome, detail: '', holder, fencingToken: String(fencingToken) };
  }
  const owner = await ownerOf(leases, lease);
  if (action === 'rob') await leases.release({ name: lease, ttlMs: 1_000, ...owner });
  const { holder, fencingToken } = action === 'rob' ? await ownerOf(leases, lease) : owner;
  const isSame = holder === owner.holder && fencingToken === owner.fencingToken;
  return { outcome: 'done', detail: isSame ? '' : 'another one', holder, fencingToken: String(fencingToken) };
}

/** Waits until somebody has it. */
async function ownerOf(leases: ControllerLeaseStore, lease: string): Promise<LeaseOwner> {
  const late = new AbortController();
  // Not AbortSignal.timeout, which does not keep a process alive that waits for nothing else.
  const timer = setTimeout(() => late.abort(), 5_000);
  try {
    for await (const owner of leases.watch(lease, { signal: late.signal })) if (owner !== undefined) return owner;
  } finally {
    clearTimeout(timer);
  }
  throw new Error('nobody has it');
}
