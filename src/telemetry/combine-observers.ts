import { notify } from '../core/index.js';
import type { ObservedEvent, Observer } from '../core/index.js';

/** One observer that tells all of `observers`, in order; one that throws does not keep an event from the others. */
export function combineObservers<Event extends ObservedEvent>(
  ...observers: readonly Observer<Event>[]
): Observer<Event> {
  return (event) => {
    for (const observer of observers) notify(observer, event);
  };
}
