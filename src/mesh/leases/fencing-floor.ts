import { dirname } from 'node:path';
import { makePrivateDirectory, readFileIfPresent, writeFileAtomic } from '../../internal/atomic-file.js';

/** Fencing tokens that one run of a program may give out: more than it can in a century. */
const tokensPerRun = 2n ** 40n;

/**
 * A floor for the fencing tokens of a `MemoryLeaseStore` that is greater than every token of the runs before, kept in the
 * file at `path` (made where it is missing). Call it once a start. Throws when the file cannot be read or written, or holds
 * something else: without it, tokens would start over, and who compares them would believe the older owner.
 *
 * @example
 * const leases = new MemoryLeaseStore({ fencingFloor: await nextFencingFloor('/var/lib/meshwright/leases') });
 */
export async function nextFencingFloor(path: string): Promise<bigint> {
  const text = (await readFileIfPresent(path, 64))?.toString('utf8').trim();
  if (text !== undefined && !/^\d{1,7}$/.test(text)) {
    throw new Error(
      `expected the number of the last start in ${path}; delete the file only when no lease is held any more`,
    );
  }
  const run = BigInt(text ?? 0) + 1n;
  await makePrivateDirectory(dirname(path));
  await writeFileAtomic(path, Buffer.from(`${String(run)}\n`));
  return run * tokensPerRun;
}
