/**
 * How long an address with a lifetime of whole seconds really stays, measured from the request that set it (net/ipv4/devinet.c
 * check_lifetime, net/ipv6/addrconf.c addrconf_verify_rtnl):
 *
 * - not less than the seconds, but for 20 ms (ADDRCONF_TIMER_FUZZ_MINUS);
 * - the kernel looks again when the next address is due, rounded up to a whole second of its own count when that is less than
 *   a quarter of a second away (ADDRCONF_TIMER_FUZZ): up to 250 ms more;
 * - 30 ms for the queue that it does this in.
 *
 * It never looks twice within a second unless addresses change (ADDRCONF_TIMER_FUZZ_MAX). So where another address of the
 * namespace changes less than a second before the end, the end comes up to one second after that change. That is why our own
 * addresses are refreshed together, and why an address is probed before it is used.
 */
const roundingMs = 250;
const queueMs = 30;

/** The longest that an address with this lifetime stays. */
export function kernelLifetimeMs(seconds: number): number {
  return 1000 * seconds + roundingMs + queueMs;
}

/** The largest lifetime, in whole seconds, that has certainly ended after `withinMs`; 0 when there is none. */
export function largestLifetimeSeconds(withinMs: number): number {
  return Math.max(0, Math.floor((withinMs - roundingMs - queueMs) / 1000));
}
