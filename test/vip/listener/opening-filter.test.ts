// The program runs in the kernel: a datagram socket of the Unix family hands a filter the bytes as they were sent.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import { SOCK_DGRAM } from '../../../src/internal/native/constants.js';
import { dropOpeningFilter } from '../../../src/vip/opening-filter.js';
import { describeRequiring } from '../../support/requirements.js';

const AF_UNIX = 1;
const [SYN, ACK] = [0x02, 0x10] as const;

describeRequiring({ native: true }, 'the filter of a held listener', () => {
  it('drops what opens a connection, whatever its other flags, and nothing else', () => {
    const addon = nativeAddon('a test');
    const [receiver, sender] = [addon.socket(AF_UNIX, SOCK_DGRAM, 0), addon.socket(AF_UNIX, SOCK_DGRAM, 0)];
    try {
      addon.bind(receiver, Buffer.from([AF_UNIX, 0]));
      addon.attachFilter(receiver, dropOpeningFilter());
      const address = addon.getsockname(receiver);
      const passes = (segment: Uint8Array): boolean => {
        try {
          addon.sendto(sender, segment, address);
        } catch (error) {
          if ((error as { code?: string }).code !== 'EPERM') throw error;
        }
        return addon.recvmsg(receiver, Buffer.alloc(2048)) !== undefined;
      };
      const header = fc.uint8Array({ minLength: 20, maxLength: 60 });
      fc.assert(
        fc.property(header, fc.nat(255), (segment, flags) => {
          segment[13] = flags;
          expect(passes(segment)).toBe((flags & (SYN | ACK)) !== SYN);
        }),
      );
      // Too short to say what it is.
      expect(passes(Buffer.alloc(13))).toBe(false);
    } finally {
      addon.close(receiver);
      addon.close(sender);
    }
  });
});
