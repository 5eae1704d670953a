/** JSON Schemas of the virtual IP kinds' `spec`, with the types of what they accept. Addresses and durations are read later. */
import type { LabelSelector, ObjectMeta } from './schemas.js';

export interface BgpPeerManifest {
  readonly address: string;
  readonly as: number;
  readonly port?: number;
  readonly ttlSecurity?: boolean;
  readonly multihop?: number;
  readonly password?: unknown;
}

export interface ProxyVipManifest {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly address?: string;
    readonly ipv6Address?: string;
    readonly mode: string;
    readonly addressFamily?: 'ipv4' | 'ipv6' | 'dual';
    readonly ports?: readonly number[];
    readonly interface?: string;
    readonly nodeSelector?: LabelSelector;
    readonly tolerations?: readonly string[];
    readonly healthPolicy?: { readonly minHealthyNodes?: number };
    readonly bgpConfig?: {
      readonly localAS?: number;
      readonly localASBase?: number;
      readonly routerID?: string;
      readonly peers?: readonly BgpPeerManifest[];
      readonly communities?: readonly string[];
      readonly localPreference?: number;
    };
    readonly bfd?: {
      readonly enabled?: boolean;
      readonly detectMultiplier?: number;
      readonly desiredMinTxInterval?: string;
      readonly requiredMinRxInterval?: string;
      readonly echoMode?: boolean;
    };
    readonly poolRef?: { readonly name: string };
  };
  readonly status?: unknown;
}

export interface ProxyIpPoolManifest {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly cidrs?: readonly string[];
    readonly addresses?: readonly string[];
    readonly autoAssign?: boolean;
  };
}

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const texts: Schema = { type: 'array', items: text };
const integer = (minimum: number, maximum: number): Schema => ({ type: 'integer', minimum, maximum });
const asNumber = integer(1, 4_294_967_295);
const port = integer(1, 65_535);
const objectOf = (properties: Record<string, Schema>, ...required: string[]): Schema => ({
  type: 'object',
  properties,
  required,
});

const bgpPeer = objectOf(
  { address: text, as: asNumber, port, ttlSecurity: { type: 'boolean' }, multihop: integer(2, 255), password: {} },
  'address',
  'as',
);

export function proxyVipFields(selector: Schema): Schema {
  return objectOf(
    {
      address: text,
      ipv6Address: text,
      mode: text,
      addressFamily: { enum: ['ipv4', 'ipv6', 'dual'] },
      ports: { type: 'array', items: port },
      interface: text,
      nodeSelector: selector,
      tolerations: texts,
      healthPolicy: objectOf({ minHealthyNodes: integer(1, 65_535) }),
      bgpConfig: objectOf({
        localAS: asNumber,
        localASBase: asNumber,
        routerID: text,
        peers: { type: 'array', items: bgpPeer },
        communities: texts,
        localPreference: integer(0, 4_294_967_295),
      }),
      bfd: objectOf({
        enabled: { type: 'boolean' },
        detectMultiplier: integer(1, 255),
        desiredMinTxInterval: text,
        requiredMinRxInterval: text,
        echoMode: { type: 'boolean' },
      }),
      poolRef: objectOf({ name: text }, 'name'),
      // Of a mode that is refused.
      ospfConfig: {},
    },
    'mode',
  );
}

export const proxyIpPoolFields: Schema = objectOf({ cidrs: texts, addresses: texts, autoAssign: { type: 'boolean' } });
