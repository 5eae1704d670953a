import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `telemetry`. */
export const telemetryErrorCodes = defineErrorCodes({
  TELEMETRY_LISTEN_FAILED: {
    when: 'The metrics server could not listen on its address.',
    fix: 'Choose another host or port, or stop what listens there; `cause` has the error of the system.',
  },
  TELEMETRY_OPTION_INVALID: {
    when: 'An option of the logger, the metrics or the metrics server is out of its documented bounds.',
    fix: 'Correct the named option; its docstring gives the type, the default and the bounds.',
  },
});

export type TelemetryErrorCode = keyof typeof telemetryErrorCodes;

export class TelemetryError extends MeshwrightError<TelemetryErrorCode> {}
