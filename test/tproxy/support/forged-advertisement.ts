// Sends an unsolicited neighbour advertisement (RFC 4861 section 4.4) for somebody else's address, with our own MAC.
// <receiver> <target>
import { networkInterfaces } from 'node:os';
import { ipBytes } from '../../../src/core/index.js';
import { nativeAddon } from '../../../src/internal/native/addon.js';
import { AF_INET6, SOCK_RAW, SOL_IPV6 } from '../../../src/internal/native/constants.js';
import { encodeSockaddr } from '../../../src/internal/native/sockaddr.js';

const [receiver = '', target = ''] = process.argv.slice(2);
const addon = nativeAddon('a test');
const IPPROTO_ICMPV6 = 58;
const IPV6_UNICAST_HOPS = 16;
const fd = addon.socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
addon.setsockopt(fd, SOL_IPV6, IPV6_UNICAST_HOPS, 255);
const mac = (networkInterfaces()['eth0']?.[0]?.mac ?? '').split(':').map((byte) => Number.parseInt(byte, 16));
const override = 0x20;
const advertisement = Buffer.from([136, 0, 0, 0, override, 0, 0, 0, ...ipBytes(target), 2, 1, ...mac]);
addon.sendto(fd, advertisement, encodeSockaddr(receiver, 0));
addon.close(fd);
