import { CaError } from './errors.js';
import type { CaDocument, CaStore } from './store.js';

/** A store that lives as long as the process: for tests, and for meshes that are made anew each time. */
export function memoryStore(): CaStore {
  const documents = new Map<CaDocument, Uint8Array>();
  let held = false;
  return Object.freeze({
    open: () => {
      if (held) {
        const message = 'this memory store is open already; close the CA that has it first';
        return Promise.reject(new CaError('CA_STORE_LOCKED', message));
      }
      held = true;
      return Promise.resolve();
    },
    read: (name: CaDocument) => Promise.resolve(documents.get(name)?.slice()),
    write: (name: CaDocument, bytes: Uint8Array) => {
      documents.set(name, bytes.slice());
      return Promise.resolve();
    },
    close: () => {
      held = false;
      return Promise.resolve();
    },
  });
}
