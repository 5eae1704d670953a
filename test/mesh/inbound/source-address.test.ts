import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { verifiedSourceAddress } from '../../../src/mesh/inbound/source-address.js';
import { prepareMeshView } from '../../../src/mesh/index.js';
import type { AuthenticatedSource } from '../../../src/mesh/index.js';
import { SpiffeId } from '../../../src/spiffe/index.js';
import { meshState } from '../fixtures.js';

const view = prepareMeshView('node-b')(meshState());
const api: AuthenticatedSource = {
  principal: SpiffeId.parse('spiffe://cluster.local/ns/production/sa/api'),
  node: 'node-a',
  via: 'token',
};

describe('verifiedSourceAddress', () => {
  it.each([
    ['for="10.244.1.6:1234"', '10.244.1.6'],
    ['for="10.244.1.6"', '10.244.1.6'],
    ['for="[fd00:1::6]:1234"', 'fd00:1::6'],
    ['for="[fd00:1:0:0::6]"', 'fd00:1::6'],
    ['for="[::ffff:10.244.1.6]:99"', '10.244.1.6'],
    ['For="10.244.1.6:1", for="10.244.1.5:1"', '10.244.1.6'],
  ])('takes %s, an address of that very workload', (forwarded, ip) => {
    expect(verifiedSourceAddress(view, api, forwarded)).toBe(ip);
  });

  it.each([
    ['another workload of the node', 'for="10.244.1.5:1"'],
    ['the same identity on another node', 'for="10.244.2.6:1"'],
    ['nobody', 'for="192.0.2.1:1"'],
    ['no quotes', 'for=10.244.1.6'],
    ['no address', 'for="_hidden"'],
    ['an empty value', ''],
    ['a long value', `for="10.244.1.6:1";${'x'.repeat(300)}`],
    ['a prefix', 'by=1;for="10.244.1.6:1"'],
  ])('takes nothing from %s', (_what, forwarded) => {
    expect(verifiedSourceAddress(view, api, forwarded)).toBeUndefined();
  });

  it('takes nothing without a view, a principal, a node or a header', () => {
    const claim = 'for="10.244.1.6:1"';
    expect(verifiedSourceAddress(undefined, api, claim)).toBeUndefined();
    expect(verifiedSourceAddress(view, { via: 'none' }, claim)).toBeUndefined();
    expect(verifiedSourceAddress(view, { ...api, node: undefined, via: 'svid' }, claim)).toBeUndefined();
    expect(verifiedSourceAddress(view, api, undefined)).toBeUndefined();
  });

  it('never answers anything but an address of that workload, whatever is claimed', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `for="${text}"`),
        ),
        (forwarded) => {
          expect([undefined, '10.244.1.6', 'fd00:1::6']).toContain(verifiedSourceAddress(view, api, forwarded));
        },
      ),
    );
  });
});
