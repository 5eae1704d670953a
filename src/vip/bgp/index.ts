/** BGP: routes announced to routers. */
export { BgpSpeaker } from './speaker.js';
export type { BgpGracefulRestartOptions, BgpSpeakerOptions } from './speaker-options.js';
export type { BgpPeerOptions } from './peer-options.js';
export type { BgpPeerState } from './peer-state.js';
export type { BgpRoute, BgpRouteAttributes } from './route.js';
export type { BgpConnectionRefusal, BgpEvent } from './events.js';
export type { BgpFailure } from './failure-words.js';
export type { BgpFamily } from './codec/constants.js';
export type { BgpAttributeFault, BgpDecodeReason } from './codec/decoded.js';
export type { BgpFsmEventType, BgpFsmState } from './fsm/table.js';
