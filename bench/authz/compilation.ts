/** Compiling thousands of policies, and compiling them again after one changed. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { AuthzEngine, freezeManifest } from 'meshwright/authz';

type Fastest = (runs: number, work: () => unknown) => Promise<number>;

const policies = 10_000;
const recompilations = 15;

export function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}

const collectGarbage = garbageCollector();

/** What is in use, without garbage. */
function heapMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1e6;
}

/**
 * CPU time of the main thread in ms, from the kernel: for how long others have to wait. The time of the whole process has that
 * of the threads in it which V8 optimises on meanwhile, and the first recompilation makes much for them to do.
 */
function mainThreadMs(): number {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1e6;
}

interface Recompiled {
  readonly mainMs: readonly number[];
  readonly processMs: readonly number[];
}

async function recompile(
  manifests: readonly unknown[],
  change: (run: number) => unknown,
  fastest: Fastest,
): Promise<Recompiled> {
  let previous = await AuthzEngine.compileAsync(manifests);
  collectGarbage();
  const mainMs: number[] = [];
  const processMs: number[] = [];
  for (let run = 1; run <= recompilations; run += 1) {
    const next = [...manifests];
    next[run] = change(run);
    const before = mainThreadMs();
    const all = await fastest(1, async () => {
      previous = await AuthzEngine.compileAsync(next, { previous });
    });
    mainMs.push(mainThreadMs() - before);
    processMs.push(all);
  }
  return { mainMs, processMs };
}

const median = (values: readonly number[]): string =>
  ([...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0).toFixed(1);

export async function compilation(
  shape: string,
  make: (index: number) => unknown,
  rulesPerPolicy: number,
  fastest: Fastest,
): Promise<Record<string, string | number>> {
  const without = heapMb();
  const manifests = Array.from({ length: policies }, (_, index) => freezeManifest(make(index)));
  const withManifests = heapMb();
  // Before anything warmed the engine up.
  const changed = (run: number): unknown => make(2 * policies + run);
  const frozen = await recompile(manifests, (run) => freezeManifest(changed(run)), fastest);
  const compileMs = await fastest(3, () => AuthzEngine.compile(manifests));
  collectGarbage();
  const engine = await AuthzEngine.compileAsync(manifests);
  const highest = process.memoryUsage().heapUsed / 1e6 - without;
  const withEngine = heapMb();
  if (engine.problems.length > 0) throw new Error('expected policies without problems');
  const loose = Array.from({ length: policies }, (_, index) => make(index));
  const unfrozen = await recompile(loose, changed, fastest);
  return {
    shape,
    rules: policies * rulesPerPolicy,
    'compile ms': compileMs.toFixed(0),
    'recompile after one change, main thread ms, first': frozen.mainMs[0]?.toFixed(1) ?? '',
    median: median(frozen.mainMs),
    "first with V8's other threads": frozen.processMs[0]?.toFixed(1) ?? '',
    'not frozen, first': unfrozen.mainMs[0]?.toFixed(1) ?? '',
    'not frozen, median': median(unfrozen.mainMs),
    'manifests MB': (withManifests - without).toFixed(0),
    'engine MB': (withEngine - withManifests).toFixed(0),
    'both and garbage of compiling MB': highest.toFixed(0),
  };
}
