/**
 * How long an address with a lifetime of whole seconds really stays, measured from the request that set it (net/ipv4/devinet.c
 * check_lifetime, net/ipv6/addrconf.c addrconf_verify_rtnl):
 *
 * - not less than the seconds, but for 20 ms (ADDRCONF_TIMER_FUZZ_MINUS);
 * - the kernel looks again when the next address is due, rounded up to a whole second of its own count when that is less than
 *   a quarter of a second away (ADDRCONF_TIMER_FUZZ): up to 250 ms more;
 * - 30 ms for the queue that it does this in.
 *
 * On a machine that idles, timers of the kernel come later still: 1.51 s was measured for 1 s, one in ten over 1.3 s. So this is
 * no promise; what keeps an address from having two owners is the probe, which sees one that is still there.
 *
 * It never looks twice within a second unless addresses change (ADDRCONF_TIMER_FUZZ_MAX). So where another address of the
 * namespace changes less than a second before the end, the end comes up to one second after that change. That is why our own
 * addresses are refreshed together, and why an address is probed before it is used.
 */
const roundingMs = 250;
const queueMs = 30;

/** How long an address with this lifetime stays, on a machine whose timers are punctual. */
export function kernelLifetimeMs(seconds: number): number {
  return 1000 * seconds + roundingMs + queueMs;
}

/** The largest lifetime, in whole seconds, that has ended after `withinMs` (see `kernelLifetimeMs`); 0 when there is none. */
export function largestLifetimeSeconds(withinMs: number): number {
  return Math.max(0, Math.floor((withinMs - roundingMs - queueMs) / 1000));
}
