/**
 * Telemetry by observation: a module reports what happened as plain typed events and never imports a metrics library.
 * Each module owns its event union (discriminated by `type`); `meshwright/telemetry` turns them into metrics.
 */

export interface ObservedEvent {
  readonly type: string;
}

/** Called synchronously on hot paths: be quick. What it throws is swallowed by `notify`, never felt by traffic. */
export type Observer<Event extends ObservedEvent> = (event: Event) => void;

/** Ignores everything; the default everywhere. */
export const noObserver: Observer<ObservedEvent> = () => undefined;

/** Reports `event` to `observer`; an observer that throws is the observer's problem. */
export function notify<Event extends ObservedEvent>(observer: Observer<Event>, event: Event): void {
  try {
    observer(event);
  } catch {
    // An observer must not be able to break a connection.
  }
}
