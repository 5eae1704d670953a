/** Virtual IPs as part of the resource model: which address, which nodes may announce it and how, and where it leads. */
import { z } from 'zod';
import { tryParseIp } from '../core/index.js';

const name = z.string().regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/, {
  message: 'expected a name of 1 to 253 letters, digits, dots, dashes and underscores',
});
const key = z.string().regex(/^[A-Za-z0-9._-]{1,253}\/[A-Za-z0-9._-]{1,253}$/, { message: 'expected namespace/name' });
const ip = z.string().refine((text) => tryParseIp(text) === text, { message: 'expected a canonical IP address' });
const ipv4 = ip.refine((text) => text.includes('.') && !text.includes(':'), { message: 'expected an IPv4 address' });
const port = z.number().int().min(1).max(65535);
const asNumber = z.number().int().min(1).max(4_294_967_295);
const uint32 = z.number().int().min(0).max(4_294_967_295);
/** `65000:100`, or `65000:1:2` for a large community. */
const community = z.string().regex(/^\d{1,10}:\d{1,10}(?::\d{1,10})?$/, { message: 'expected a community' });

/** A router that is told of addresses. Passwords are the agents' own configuration, never part of a snapshot. */
export const vipBgpPeerSchema = z
  .object({
    address: ip,
    as: asNumber,
    port: port.default(179),
    /** RFC 5082: packets of 255 hops only; the router must do the same. */
    ttlSecurity: z.boolean().default(false),
    /** Hops to a router that is not a neighbour; undefined for one that is. */
    multihop: z.number().int().min(2).max(255).optional(),
  })
  .strict()
  .readonly();

export const vipBgpSchema = z
  .object({
    /** Each announcing node as a speaker. */
    speakers: z.array(z.object({ node: name, localAs: asNumber, routerId: ipv4 }).strict().readonly()),
    peers: z.array(vipBgpPeerSchema),
    communities: z.array(community).default([]),
    /** Sent to peers of the same AS. */
    localPreference: uint32.optional(),
  })
  .strict()
  .readonly();

export const vipBfdSchema = z
  .object({
    txIntervalMs: z.number().int().min(10).max(60_000).default(300),
    rxIntervalMs: z.number().int().min(10).max(60_000).default(300),
    multiplier: z.number().int().min(1).max(255).default(3),
  })
  .strict()
  .readonly();

export const meshVipSchema = z
  .object({
    name,
    /** One IPv4 address, one IPv6 address, or one of each. */
    addresses: z.array(ip).min(1).max(2),
    /** `l2`: one node at a time, by ARP and ND. `bgp`: every node that can serve it. */
    mode: z.enum(['l2', 'bgp']),
    /** The nodes that may announce it. */
    nodes: z.array(name),
    ports: z.array(port),
    /** Where a port leads; a port without an entry is left to whatever listens on the node. */
    targets: z.array(z.object({ port, service: key, servicePort: port }).strict().readonly()).default([]),
    /** Of layer 2; undefined for the one that the address is on the network of. */
    interface: z.string().min(1).max(15).optional(),
    bgp: vipBgpSchema.optional(),
    bfd: vipBfdSchema.optional(),
  })
  .strict()
  .readonly();

export type MeshVip = z.output<typeof meshVipSchema>;
export type VipBgpPeer = z.output<typeof vipBgpPeerSchema>;
export type VipBgp = z.output<typeof vipBgpSchema>;
export type VipBfd = z.output<typeof vipBfdSchema>;
