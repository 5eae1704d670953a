export { ControlPlaneError, controlPlaneErrorCodes } from './control-plane/errors.js';
export type { ControlPlaneErrorCode } from './control-plane/errors.js';
export type { ControlPlaneEvent } from './control-plane/events.js';
export type { ControlPlaneLimits } from './control-plane/limits.js';
export { peerIdOf, peerOf } from './control-plane/peer.js';
export type { ControlPlanePeer } from './control-plane/peer.js';
export { ControlPlaneServer } from './control-plane/control-plane-server.js';
export type { ControlPlaneServerOptions } from './control-plane/control-plane-server.js';
export { controlPlaneTransport } from './control-plane/control-plane-transport.js';
export type { ClosableTransport, ControlPlaneTransportOptions } from './control-plane/control-plane-transport.js';
export { joinTransport } from './control-plane/join-transport.js';
export type { JoinTransportOptions } from './control-plane/join-transport.js';
export { AdminSocket, callAdmin } from './admin-socket.js';
export type { AdminHandler, AdminSocketOptions } from './admin-socket.js';
export type { AuthenticatedSource, UnverifiedSource } from './authenticated-source.js';
export { MeshError, meshErrorCodes } from './errors.js';
export type { MeshErrorCode } from './errors.js';
export type { ConnectionFacts, MeshEvent, SourceVia } from './events.js';
export { EvidenceStore } from './evidence.js';
export type { EvidenceKey } from './evidence.js';
export { admit } from './inbound/admission.js';
export type { Admission } from './inbound/admission.js';
export { InboundPath } from './inbound/inbound-path.js';
export type { InboundPathOptions } from './inbound/inbound-path.js';
export type { Arrival, DeliveryDial, Served } from './inbound/arrival.js';
export { viewsOf } from './mesh-views.js';
export type { MeshViews, ViewStore } from './mesh-views.js';
export { PeerAuthenticator } from './inbound/peer-authenticator.js';
export type { PeerAuthenticatorOptions } from './inbound/peer-authenticator.js';
export { PlaintextPath } from './inbound/plaintext-path.js';
export type { CapturedConnection, PlaintextPathOptions } from './inbound/plaintext-path.js';
export { VipIngress } from './ingress/vip-ingress.js';
export type { VipIngressOptions } from './ingress/vip-ingress.js';
export { VipRunner } from './ingress/vip-runner.js';
export type { RunningVips, VipRunnerOptions } from './ingress/vip-runner.js';
export { vipPlan } from './ingress/vip-plan.js';
export type { VipBgpSettings, VipPlan, VipPlanInput } from './ingress/vip-plan.js';
export { ControllerLeaseStore } from './leases/controller-lease-store.js';
export type { ControllerLeaseStoreOptions } from './leases/controller-lease-store.js';
export { nextFencingFloor } from './leases/fencing-floor.js';
export { leaseRoutes } from './leases/lease-routes.js';
export type { LeaseRoutesOptions } from './leases/lease-routes.js';
export { vipLeases } from './leases/vip-leases.js';
export { interceptionPlan } from './interception-plan.js';
export { InterceptionReconciler } from './interception-reconciler.js';
export type { InterceptionReconcilerOptions, RuleApplier } from './interception-reconciler.js';
export { AgentIntrospection } from './agent-introspection.js';
export type { AgentIntrospectionOptions, AgentStatus } from './agent-introspection.js';
export { formatStatus, formatTunnels } from './agent-tables.js';
export { formatVips } from './vip-tables.js';
export type { VipReport } from './vip-tables.js';
export type { TunnelRow } from './agent-tables.js';
export { localPrincipals } from './local-principals.js';
export { MeshIndex, meshServices, resourceKey } from './mesh-index.js';
export type { Destination } from './mesh-index.js';
export { parseMeshState, prepareMeshView } from './mesh-view.js';
export type { MeshView } from './mesh-view.js';
export { EndpointPicker } from './outbound/endpoint-picker.js';
export { LocalAuthenticator } from './outbound/local-authenticator.js';
export type { LocalAuthenticatorOptions } from './outbound/local-authenticator.js';
export { OutboundPath } from './outbound/outbound-path.js';
export type { OutboundPathOptions } from './outbound/outbound-path.js';
export { SourcePins } from './outbound/source-pins.js';
export type { HostInterface } from './outbound/source-pins.js';
export { refusalReasons } from './refusal.js';
export type { RefusalInfo, RefusalReason } from './refusal.js';
export {
  meshNodeSchema,
  meshServiceSchema,
  meshSettingsSchema,
  meshStateSchema,
  policyManifestSchema,
  serviceEndpointSchema,
  servicePortSchema,
  workloadPortSchema,
  workloadSchema,
} from './resources.js';
export type {
  MeshNode,
  MeshService,
  MeshSettings,
  MeshState,
  MeshStateInput,
  PolicyManifest,
  ServiceEndpoint,
  ServicePort,
  Workload,
  WorkloadPort,
} from './resources.js';
export { scopeToNode } from './scope.js';
export { meshVipSchema, vipBfdSchema, vipBgpPeerSchema, vipBgpSchema } from './vip-resources.js';
export type { MeshVip, VipBfd, VipBgp, VipBgpPeer } from './vip-resources.js';
export { traceContext } from './trace-context.js';
export type { TraceContext } from './trace-context.js';
export { workloadRegistry } from './workload-registry.js';
