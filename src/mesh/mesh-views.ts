import type { MeshView } from './mesh-view.js';

/** The agent's view, and word of newer ones. `SnapshotStore` of `meshwright/snapshot` satisfies it through `viewsOf`. */
export interface MeshViews {
  /** Undefined until the first snapshot: everything is refused. */
  readonly current: MeshView | undefined;
  subscribe(listener: (view: MeshView) => void): Disposable;
}

/** What is read of a `SnapshotStore<MeshState, MeshView>`, so that the data path needs no store of its own. */
export interface ViewStore {
  readonly current: { readonly value: MeshView } | undefined;
  subscribe(listener: (snapshot: { readonly value: MeshView }) => void): Disposable;
}

/** The views of a snapshot store. */
export function viewsOf(store: ViewStore): MeshViews {
  return {
    get current() {
      return store.current?.value;
    },
    subscribe: (listener) => store.subscribe((snapshot) => listener(snapshot.value)),
  };
}
