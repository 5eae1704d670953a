import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `traffic`, and the codes under which a proxied connection's failure is reported. */
export const trafficErrorCodes = defineErrorCodes({
  TRAFFIC_OPTION_INVALID: {
    when: 'A limit of `proxyHttp1` or `detectProtocol` is not a whole number within its bounds.',
    fix: 'Correct the named option; its docstring gives the unit, the default and the bounds.',
  },
  TRAFFIC_UPSTREAM_UNREACHABLE: {
    when: 'The connection to the application could not be made for an allowed request; the client got 503.',
    fix: 'Check that the workload listens on the port and is ready; `cause` has the connect error.',
  },
  TRAFFIC_UPSTREAM_ABORTED: {
    when: 'The application closed or reset its connection before the end of a response; the client got 502 or a reset.',
    fix: 'Look at the application: it crashed, timed out, or sent a response that is not valid HTTP/1.1.',
  },
  TRAFFIC_DOWNSTREAM_ABORTED: {
    when: 'The client went away in the middle of a request or response.',
    fix: 'Nothing, if clients are expected to cancel; otherwise look at their timeouts.',
  },
  TRAFFIC_REQUEST_STALLED: {
    when: 'A request body stopped arriving for longer than `bodyStallTimeoutMs`.',
    fix: 'Raise the limit if clients legitimately pause that long inside one request body.',
  },
});

export type TrafficErrorCode = keyof typeof trafficErrorCodes;

export class TrafficError extends MeshwrightError<TrafficErrorCode> {}
