import { cease, ceaseSubcodes } from './codec/notification.js';
import type { BgpNotification } from './codec/notification.js';

/** What a peer is told that is no longer configured, changed, or shut down. */
export const farewells = Object.freeze({
  shutdown: (text?: string): BgpNotification => cease(ceaseSubcodes.administrativeShutdown, text),
  removed: (): BgpNotification => cease(ceaseSubcodes.peerDeconfigured),
  changed: (): BgpNotification => cease(ceaseSubcodes.configurationChange),
  bfdDown: (): BgpNotification => cease(ceaseSubcodes.bfdDown),
});
