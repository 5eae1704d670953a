import { messageTypes } from './constants.js';
import type { AttributeContext } from './decode-attributes.js';
import { decodeUpdate } from './decode-update.js';
import type { BgpUpdate } from './decode-update.js';
import { accepted } from './decoded.js';
import type { BgpDecoded } from './decoded.js';
import type { BgpFrame } from './framing.js';
import { decodeNotification } from './notification.js';
import type { BgpNotification } from './notification.js';
import { decodeOpen } from './open.js';
import type { BgpOpen } from './open.js';
import { decodeRouteRefresh } from './route-refresh.js';
import type { BgpRouteRefresh } from './route-refresh.js';

/** Any message of BGP. */
export type BgpMessage =
  | { readonly type: 'open'; readonly open: BgpOpen }
  | { readonly type: 'update'; readonly update: BgpUpdate }
  | { readonly type: 'notification'; readonly notification: BgpNotification }
  | { readonly type: 'keepalive' }
  | { readonly type: 'route-refresh'; readonly refresh: BgpRouteRefresh };

/** Decodes a frame whose header the framer has checked. */
export function decodeMessage(frame: BgpFrame, context: AttributeContext): BgpDecoded<BgpMessage> {
  switch (frame.type) {
    case messageTypes.open: {
      const open = decodeOpen(frame.body);
      return open.ok ? accepted({ type: 'open', open: open.value }) : open;
    }
    case messageTypes.update: {
      const update = decodeUpdate(frame.body, context);
      return update.ok ? accepted({ type: 'update', update: update.value }) : update;
    }
    case messageTypes.notification:
      return accepted({ type: 'notification', notification: decodeNotification(frame.body) });
    case messageTypes.routeRefresh:
      return accepted({ type: 'route-refresh', refresh: decodeRouteRefresh(frame.body) });
    default:
      return accepted({ type: 'keepalive' });
  }
}
