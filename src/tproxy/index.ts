export { TproxyListener } from './tproxy-listener.js';
export type { InterceptedConnection, ListenerMode, TproxyListenerOptions } from './tproxy-listener.js';
export { dialUpstream } from './dial-upstream.js';
export type { DialUpstreamOptions } from './dial-upstream.js';
export { defaultMarks } from './marks.js';
export type { InterceptionMarks, MaskedMark } from './marks.js';
export type { TproxyEvent } from './events.js';
export { TproxyError, tproxyErrorCodes } from './errors.js';
export type { TproxyErrorCode } from './errors.js';
export { NativeError, nativeErrorCodes } from '../internal/native/errors.js';
export type { NativeErrorCode } from '../internal/native/errors.js';
export { Interception } from './interception.js';
export type {
  ApplyResult,
  InterceptionDescription,
  InterceptionOptions,
  VerifyResult,
} from './interception-options.js';
export type { InterceptionPlan } from './interception-plan.js';
export type { InterceptionCounters, InterceptionMode } from './rule-backend.js';
export type { CommandResult, RunCommand } from './run-command.js';
export { InterfaceMonitor } from './interface-monitor.js';
export type { InterfaceChange, InterfaceMonitorOptions } from './interface-monitor.js';
export { findHostInterface } from './find-host-interface.js';
export { listInterfaces } from './network-interfaces.js';
export type { HostInterface, NetworkInterface } from './network-interfaces.js';
