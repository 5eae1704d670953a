import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of its own for a daemon's sockets, logs and configuration; removed when disposed of, or when the process exits. */
export class ScratchDirectory implements Disposable {
  readonly path: string;
  readonly #remove = (): void => rmSync(this.path, { recursive: true, force: true });

  constructor(label: string, owner?: { readonly uid: number; readonly gid: number }) {
    this.path = mkdtempSync(join(tmpdir(), `meshwright-${label}-`));
    process.once('exit', this.#remove);
    if (owner !== undefined) chownSync(this.path, owner.uid, owner.gid);
    process.once('exit', this.#remove);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    process.off('exit', this.#remove);
    this.#remove();
  }
}
