import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { CaClient, SvidRenewer, WorkloadTokenCache, followBundle, secretFile } from 'meshwright/ca';
import { constantValue } from 'meshwright/core';
import { controlPlaneTransport, joinTransport } from 'meshwright/mesh';
import type { ClosableTransport } from 'meshwright/mesh';
import { SpiffeId, controllerId, verifyWorkloadToken, verifyX509Svid } from 'meshwright/spiffe';
import { recordingLogger, testDirectory } from '../../ca/support.js';
import { controlPlane, web } from './support.js';

const cart = SpiffeId.parse('spiffe://cluster.local/ns/shop/sa/cart');
const spiffeId = SpiffeId.parse('spiffe://cluster.local/agent/node-a');
/** A fifth of it is left when it is renewed: more than a busy machine takes. */
const lifetimeMs = 6000;

it(
  'certificates and tokens of seconds are renewed under load without one moment of invalidity',
  { timeout: 90_000 },
  async () => {
    const plane = await controlPlane({ svidTtlMs: lifetimeMs, tokenTtlMs: lifetimeMs });
    const { ca, address } = plane;
    const { trustDomain } = ca;
    const controller = controllerId(trustDomain);
    const { logger, lines } = recordingLogger();
    const { token, rootPin } = await plane.joinTokens.create({ node: 'node-a' });
    const directory = testDirectory();
    const transports: ClosableTransport[] = [];
    const dial = (options: Parameters<typeof controlPlaneTransport>[0]): CaClient => {
      const transport = controlPlaneTransport(options);
      transports.push(transport);
      return new CaClient({ transport, trustDomain });
    };

    let client: CaClient | undefined;
    const renewer = await SvidRenewer.start({
      spiffeId,
      file: secretFile(join(directory, 'identity.json')),
      attest: async (csr, options) => {
        const transport = joinTransport({ address, rootPin, trustDomain });
        try {
          return await new CaClient({ transport, trustDomain }).join({ token, csr }, options);
        } finally {
          await transport.close();
        }
      },
      renew: ({ svid, bundle }) => {
        const own = dial({ address, svid, bundle, controller });
        client = own;
        return (csr, options) => own.renew({ csr }, options);
      },
      beforePublish: async (candidate, signal) => {
        const transport = controlPlaneTransport({
          address,
          svid: constantValue(candidate),
          bundle: renewer.bundle,
          controller,
        });
        try {
          const fresh = new CaClient({ transport, trustDomain });
          const request = (workload: SpiffeId, options: { readonly signal: AbortSignal }) =>
            fresh.issueWorkloadToken(workload, options);
          await cache.prefetch(cache.workloads, { keyThumbprint: candidate.keyThumbprint, request, signal });
        } finally {
          await transport.close();
        }
      },
      logger,
    });
    const own = client;
    if (own === undefined) throw new Error('no client was made');
    const cache = await WorkloadTokenCache.open({
      request: (workload, options) => own.issueWorkloadToken(workload, options),
      svid: renewer.svid,
      bundle: renewer.bundle,
      file: secretFile(join(directory, 'tokens.json')),
      logger,
    });
    const stop = new AbortController();
    const following = followBundle({
      watch: (options) => own.watchBundle(options),
      onBundle: (bundle) => renewer.acceptBundle(bundle),
      signal: stop.signal,
    });
    onTestFinished(async () => {
      stop.abort();
      await following;
      await cache.close();
      await renewer.close();
      for (const transport of transports) transport.destroy();
    });

    const serials = new Set<string>();
    const tokens = new Set<string>();
    const end = performance.now() + 3 * lifetimeMs;
    let checks = 0;
    while (performance.now() < end) {
      const svid = renewer.svid.current;
      const bundle = renewer.bundle.current;
      verifyX509Svid({ certificates: svid.certificates, bundle, now: Date.now() });
      serials.add(svid.serialNumber);
      const { keyThumbprint } = svid;
      for (const workload of [web, cart]) {
        const text = await cache.token(workload, { keyThumbprint });
        tokens.add(text);
        const now = Date.now();
        await verifyWorkloadToken(text, { bundle, audience: 'meshwright-tunnel', now, node: 'node-a', keyThumbprint });
      }
      checks += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(checks).toBeGreaterThan(50);
    expect(serials.size).toBeGreaterThanOrEqual(3);
    expect(tokens.size).toBeGreaterThanOrEqual(2 * 4);
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
    expect(lines.filter(({ message }) => message === 'mesh certificate issued').length).toBe(serials.size);
  },
);
