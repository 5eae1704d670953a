/** What the main thread and the worker say to each other. Plain data: it is cloned on the way. */
import type { BfdRefusals } from './engine.js';
import type { BfdTimers } from './session.js';
import type { BfdSettings } from './settings.js';
import type { BfdStatus } from './status.js';

/** `id` is the main thread's name of a session, the same in a restarted worker. */
export type BfdCommand =
  | { readonly type: 'add'; readonly id: number; readonly settings: BfdSettings }
  | { readonly type: 'change-timers'; readonly id: number; readonly timers: BfdTimers }
  | { readonly type: 'remove'; readonly id: number }
  /** Close everything and end the thread. */
  | { readonly type: 'end' };

export type BfdNotice =
  | { readonly type: 'ready' }
  | { readonly type: 'status'; readonly id: number; readonly status: BfdStatus }
  | { readonly type: 'removed'; readonly id: number }
  | { readonly type: 'refusals'; readonly refusals: BfdRefusals };
