import type { ControlPlaneErrorCode } from './errors.js';

/** What the control-plane server reports to an `Observer<ControlPlaneEvent>`. */
export interface ControlPlaneEvent {
  /** A connection was refused, or ended because its certificate no longer stands. */
  readonly type: 'control-plane-refused';
  /** `ip:port`. */
  readonly remote: string;
  readonly code: ControlPlaneErrorCode;
  readonly reason: string;
}
