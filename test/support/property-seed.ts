/**
 * Property tests take the same cases in every run, so that a run that was green is green again and a failure is the fault
 * of the change at hand. `MESHWRIGHT_SEED=random` takes new ones each time, for a search; a number takes that seed.
 */
import * as fc from 'fast-check';

const wanted = process.env['MESHWRIGHT_SEED'] ?? '20261121';
if (wanted !== 'random') {
  const seed = Number(wanted);
  if (!Number.isInteger(seed)) throw new Error(`expected MESHWRIGHT_SEED to be an integer or "random", got ${wanted}`);
  fc.configureGlobal({ seed });
}
