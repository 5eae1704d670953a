// Looks every <intervalMs> at which namespaces have <ip> on a device, and prints each change: `<monotonic ms> <label>,<label>`.
// Arguments: <ip> <intervalMs> <label>=<path of the namespace>…
import { openSync } from 'node:fs';
import { ipBytes, systemClock } from '../../../src/core/index.js';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import { NETLINK_ROUTE, NLM_F_DUMP, NetlinkSocket, netlinkAttributes } from '../../../src/internal/native/netlink.js';

const RTM_GETADDR = 22;
const [ip = '', interval = '', ...places] = process.argv.slice(2);
const wanted = Buffer.from(ipBytes(ip));
const addon = nativeAddon('a test');
const sockets = places.map((place) => {
  const [label = '', path = ''] = place.split('=');
  addon.setns(openSync(path, 'r'));
  // A socket stays in the namespace that it was made in.
  return { label, socket: new NetlinkSocket({ protocol: NETLINK_ROUTE, feature: 'a test' }) };
});
const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

async function has(socket: NetlinkSocket): Promise<boolean> {
  const addresses = await socket.request(RTM_GETADDR, NLM_F_DUMP, Buffer.alloc(8));
  return addresses.some(({ payload }) => {
    const attributes = netlinkAttributes(payload, 8);
    return (attributes.get(2) ?? attributes.get(1))?.equals(wanted) === true;
  });
}

async function having(): Promise<readonly string[]> {
  const found = await Promise.all(sockets.map(async ({ label, socket }) => ((await has(socket)) ? [label] : [])));
  return found.flat();
}

let before: string | undefined;
let dueMs = systemClock.monotonicMs();
let late = 0;
async function look(): Promise<void> {
  let found = await having();
  // One after the other was asked, and it may have moved in between: two have it when a second look finds both again.
  if (found.length > 1) {
    const again = await having();
    found = found.filter((label) => again.includes(label));
  }
  const owners = found.join(',');
  if (owners !== before) process.stdout.write(`${String(monotonicMs())} ${owners}\n`);
  before = owners;
  dueMs += Number(interval);
  const waitMs = dueMs - systemClock.monotonicMs();
  // Said, since what was not looked at was not seen.
  if (waitMs < -Number(interval)) process.stdout.write(`late ${String(++late)} ${String(-waitMs)}\n`);
  if (waitMs < 0) dueMs = systemClock.monotonicMs();
  systemClock.timer(Math.max(0, waitMs), () => void look(), { keepAlive: true });
}
void look();
