/**
 * JSON Schemas of the fields that the mesh reads, one per kind; everything else in a manifest is left to Kubernetes.
 * Each schema has the TypeScript type of what it accepts beside it. `null` counts as absent, as it does in Kubernetes.
 */
import type { KnownKind } from './kinds.js';
import { proxyIpPoolFields, proxyVipFields } from './vip-schemas.js';

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid?: string }[];
  readonly deletionTimestamp?: string;
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values?: readonly string[];
  }[];
}

export interface NodeManifest {
  readonly metadata: ObjectMeta;
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] };
}

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export interface ProbeManifest {
  readonly httpGet?: { readonly port: number | string };
  readonly tcpSocket?: { readonly port: number | string };
  readonly grpc?: { readonly port: number };
}

export interface ContainerManifest {
  readonly name?: string;
  readonly restartPolicy?: string;
  readonly ports?: readonly { readonly containerPort: number; readonly name?: string; readonly protocol?: Protocol }[];
  readonly livenessProbe?: ProbeManifest;
  readonly readinessProbe?: ProbeManifest;
  readonly startupProbe?: ProbeManifest;
}

export interface PodManifest {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly serviceAccountName?: string;
    readonly serviceAccount?: string;
    readonly containers?: readonly ContainerManifest[];
    readonly initContainers?: readonly ContainerManifest[];
  };
  readonly status?: {
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly phase?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export interface ReplicatedManifest {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly selector?: LabelSelector;
    readonly template?: { readonly metadata?: Partial<ObjectMeta> };
  };
}

export interface ServiceManifest {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly selector?: Readonly<Record<string, string>>;
    readonly publishNotReadyAddresses?: boolean;
    readonly ports?: readonly {
      readonly port: number;
      readonly name?: string;
      readonly protocol?: Protocol;
      readonly targetPort?: number | string;
      readonly appProtocol?: string;
    }[];
  };
}

export interface EndpointPortManifest {
  readonly name?: string;
  readonly port?: number;
  readonly protocol?: Protocol;
}

interface TargetReference {
  readonly kind?: string;
  readonly name?: string;
  readonly namespace?: string;
}

export interface EndpointSliceManifest {
  readonly metadata: ObjectMeta;
  readonly addressType?: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean };
    readonly targetRef?: TargetReference;
  }[];
  readonly ports?: readonly EndpointPortManifest[];
}

export interface EndpointsManifest {
  readonly metadata: ObjectMeta;
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip: string; readonly targetRef?: TargetReference }[];
    readonly notReadyAddresses?: readonly { readonly ip: string; readonly targetRef?: TargetReference }[];
    readonly ports?: readonly EndpointPortManifest[];
  }[];
}

export interface PeerAuthenticationManifest {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly selector?: LabelSelector;
    readonly mtls?: { readonly mode?: 'UNSET' | 'STRICT' | 'PERMISSIVE' | 'DISABLE' };
    readonly portLevelMtls?: Readonly<
      Record<string, { readonly mode?: 'UNSET' | 'STRICT' | 'PERMISSIVE' | 'DISABLE' }>
    >;
  };
}

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const flag: Schema = { type: 'boolean' };
const dnsName: Schema = { type: 'string', format: 'dns-name' };
const ip: Schema = { type: 'string', format: 'ip' };
const port: Schema = { type: 'integer', minimum: 1, maximum: 65535 };
const portOrName: Schema = { type: ['integer', 'string'], format: 'port-or-name', minimum: 1, maximum: 65535 };
const protocol: Schema = { enum: ['TCP', 'UDP', 'SCTP'] };
const texts: Schema = { type: 'object', additionalProperties: text };
const mode: Schema = { enum: ['UNSET', 'STRICT', 'PERMISSIVE', 'DISABLE'] };
const listOf = (items: Schema): Schema => ({ type: 'array', items });
const objectOf = (properties: Record<string, Schema>, ...required: string[]): Schema => ({
  type: 'object',
  properties,
  required,
});

const metaFields = {
  name: dnsName,
  namespace: dnsName,
  labels: texts,
  annotations: texts,
  ownerReferences: listOf(objectOf({ kind: text, name: text, uid: text }, 'kind', 'name')),
  deletionTimestamp: text,
};
const manifestOf = (fields: Record<string, Schema>, ...required: string[]): Schema =>
  objectOf({ metadata: objectOf(metaFields, 'name'), ...fields }, 'metadata', ...required);

const expression = objectOf(
  { key: text, operator: { enum: ['In', 'NotIn', 'Exists', 'DoesNotExist'] }, values: listOf(text) },
  'key',
  'operator',
);
const selector = objectOf({ matchLabels: texts, matchExpressions: listOf(expression) });
const probe = objectOf({
  httpGet: objectOf({ port: portOrName }, 'port'),
  tcpSocket: objectOf({ port: portOrName }, 'port'),
  grpc: objectOf({ port }, 'port'),
});
const container = objectOf({
  name: text,
  restartPolicy: text,
  ports: listOf(objectOf({ containerPort: port, name: text, protocol }, 'containerPort')),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
});
const targetRef = objectOf({ kind: text, name: text, namespace: text });
const endpointPorts = listOf(objectOf({ name: text, port, protocol }));
const subsetAddresses = listOf(objectOf({ ip, targetRef }, 'ip'));
const replicated = manifestOf({
  spec: objectOf({ selector, template: objectOf({ metadata: objectOf({ annotations: texts, labels: texts }) }) }),
});

export const manifestSchemas: Readonly<Record<KnownKind, Schema>> = Object.freeze({
  Node: manifestOf({
    status: objectOf({ addresses: listOf(objectOf({ type: text, address: text }, 'type', 'address')) }),
  }),
  Pod: manifestOf({
    spec: objectOf({
      nodeName: dnsName,
      hostNetwork: flag,
      serviceAccountName: dnsName,
      serviceAccount: dnsName,
      containers: listOf(container),
      initContainers: listOf(container),
    }),
    status: objectOf({
      podIP: ip,
      podIPs: listOf(objectOf({ ip }, 'ip')),
      phase: text,
      conditions: listOf(objectOf({ type: text, status: text }, 'type', 'status')),
    }),
  }),
  Deployment: replicated,
  ReplicaSet: replicated,
  Service: manifestOf(
    {
      spec: objectOf({
        type: text,
        clusterIP: { type: 'string', format: 'cluster-ip' },
        clusterIPs: listOf({ type: 'string', format: 'cluster-ip' }),
        selector: texts,
        publishNotReadyAddresses: flag,
        ports: listOf(objectOf({ port, name: text, protocol, targetPort: portOrName, appProtocol: text }, 'port')),
      }),
    },
    'spec',
  ),
  EndpointSlice: manifestOf({
    addressType: { enum: ['IPv4', 'IPv6', 'FQDN'] },
    endpoints: listOf(
      objectOf({ addresses: listOf(text), conditions: objectOf({ ready: flag }), targetRef }, 'addresses'),
    ),
    ports: endpointPorts,
  }),
  Endpoints: manifestOf({
    subsets: listOf(objectOf({ addresses: subsetAddresses, notReadyAddresses: subsetAddresses, ports: endpointPorts })),
  }),
  // What a policy says is for the authorization engine to judge; here only what it is called.
  ProxyPolicy: manifestOf({ spec: objectOf({ type: text }, 'type') }, 'spec'),
  ProxyVIP: manifestOf({ spec: proxyVipFields(selector) }, 'spec'),
  ProxyIPPool: manifestOf({ spec: proxyIpPoolFields }, 'spec'),
  AuthorizationPolicy: manifestOf({ spec: { type: 'object' } }),
  PeerAuthentication: manifestOf({
    spec: objectOf({
      selector: objectOf({ matchLabels: texts }),
      mtls: objectOf({ mode }),
      portLevelMtls: { type: 'object', additionalProperties: objectOf({ mode }) },
    }),
  }),
});
