import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One listener for all: as many daemons as a test needs are no leak. */
const open = new Set<ScratchDirectory>();
const removeAll = (): void => {
  for (const directory of open) directory[Symbol.dispose]();
};

/** A directory of its own for a daemon's sockets, logs and configuration; removed when disposed of, or when the process exits. */
export class ScratchDirectory implements Disposable {
  readonly path: string;

  constructor(label: string, owner?: { readonly uid: number; readonly gid: number }) {
    this.path = mkdtempSync(join(tmpdir(), `meshwright-${label}-`));
    if (open.size === 0) process.on('exit', removeAll);
    open.add(this);
    if (owner !== undefined) chownSync(this.path, owner.uid, owner.gid);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    open.delete(this);
    if (open.size === 0) process.off('exit', removeAll);
    rmSync(this.path, { recursive: true, force: true });
  }
}
