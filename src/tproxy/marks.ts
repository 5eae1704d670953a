import { CoreError } from '../core/index.js';

/** Some bits of the packet mark: `mark` within `mask`. The other bits belong to others and are never read or changed. */
export interface MaskedMark {
  readonly mark: number;
  readonly mask: number;
}

/**
 * The two marks of interception. The defaults keep clear of kube-proxy (0x4000, 0x8000), Cilium (0xf00 and the upper half),
 * Calico (0xffff0000), Tailscale (0xff0000) and the usual 0x1 of other proxies.
 */
export interface InterceptionMarks {
  /** On captured packets: the policy route that delivers them to this host matches it. Default 0x1000/0x1000. */
  readonly intercept: MaskedMark;
  /** On packets of the agent's own sockets, which are never captured or refused. Default 0x2000/0x2000. */
  readonly upstream: MaskedMark;
}

export const defaultMarks: InterceptionMarks = Object.freeze({
  intercept: Object.freeze({ mark: 0x1000, mask: 0x1000 }),
  upstream: Object.freeze({ mark: 0x2000, mask: 0x2000 }),
});

/** Fills in defaults and checks. Throws `CORE_OPTION_INVALID` when a mark is zero, outside its mask, or the masks share bits. */
export function resolveMarks(marks: Partial<InterceptionMarks> | undefined): InterceptionMarks {
  const resolved = {
    intercept: Object.freeze({ ...(marks?.intercept ?? defaultMarks.intercept) }),
    upstream: Object.freeze({ ...(marks?.upstream ?? defaultMarks.upstream) }),
  };
  for (const [name, { mark, mask }] of Object.entries(resolved)) {
    const valid = [mark, mask].every((value) => Number.isInteger(value) && value > 0 && value <= 0xffffffff);
    if (!valid || (mark & ~mask) !== 0) {
      throw new CoreError(
        'CORE_OPTION_INVALID',
        `marks.${name}: expected a mark from 1 to 0xffffffff within its mask, got ${formatMark({ mark, mask })}`,
      );
    }
  }
  if ((resolved.intercept.mask & resolved.upstream.mask) !== 0) {
    throw new CoreError(
      'CORE_OPTION_INVALID',
      'marks.intercept and marks.upstream: expected masks without a common bit',
    );
  }
  return Object.freeze(resolved);
}

/** `0x1000/0x1000`, as `ip rule` and iptables write it. */
export function formatMark({ mark, mask }: MaskedMark): string {
  return `${hex(mark)}/${hex(mask)}`;
}

export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

/** All bits outside the mask, as a 32-bit number: what a rule keeps when it sets a mark. */
export function otherBits(mask: number): number {
  return ~mask >>> 0;
}
