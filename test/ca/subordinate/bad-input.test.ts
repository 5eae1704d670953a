/** A chain that was changed anywhere is never installed, and the request stays out. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { CaError, SpiffeCA, memoryStore } from 'meshwright/ca';
import { FakeClock } from 'meshwright/testing';
import '../../support/property-seed.js';
import { readPem, writePem } from '../../../src/internal/der/pem.js';
import { externalRoot } from './external-ca.js';

const startMs = Date.UTC(2030, 0, 1);

it('refuses a chain with any bit flipped, and any text that is none', async () => {
  const clock = new FakeClock({ start: startMs });
  const store = memoryStore();
  const root = externalRoot(startMs);
  const { csrPem } = await SpiffeCA.requestSubordinate({ trustDomain: 'cluster.local', store });
  const upper = root.intermediate('upper');
  const good = [upper.sign(csrPem), upper.pem];
  const refusalOf = async (chainPem: string, rootPem = root.pem): Promise<unknown> => {
    try {
      const ca = await SpiffeCA.installSubordinate({ store, clock, chainPem, rootPem });
      await ca.close();
      return 'installed';
    } catch (error) {
      return error instanceof CaError ? error.code : error;
    }
  };
  const refused = expect.stringMatching(/^CA_CHAIN_(KEY|REFUSED)$/) as unknown;
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.nat(), fc.nat(7), async (which, at, bit) => {
      const pems = [...good, root.pem].map((pem, index) => {
        const der = Uint8Array.from(readPem(pem, 'CERTIFICATE')[0] ?? []);
        if (index === which) der[at % der.length] = (der[at % der.length] ?? 0) ^ (1 << bit);
        return writePem(der, 'CERTIFICATE');
      });
      expect(await refusalOf(pems.slice(0, 2).join(''), pems[2])).toEqual(refused);
    }),
    { numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.boolean(), async (text, wrapped) => {
      const pem = wrapped ? writePem(Buffer.from(`${text}x`), 'CERTIFICATE') : text;
      expect(await refusalOf(pem)).toEqual(refused);
      expect(await refusalOf(good.join(''), pem)).toEqual(refused);
    }),
  );
  expect(await refusalOf(good.join(''))).toBe('installed');
});
