import { AuthzCompileError, AuthzEngine, formatProblem } from '../../authz/index.js';
import type { AuthzOptions } from '../../authz/index.js';

/** Compiles, and turns a failure into one line for each problem. */
export function lintedEngine(manifests: readonly unknown[], options: AuthzOptions): AuthzEngine {
  try {
    return AuthzEngine.compile(manifests, options);
  } catch (error) {
    if (!(error instanceof AuthzCompileError)) throw error;
    const lines = error.problems
      .filter(({ severity }) => severity === 'error')
      .map((problem) => `  ${formatProblem(problem)}`);
    throw new Error(`the policies do not compile:\n${lines.join('\n')}`, { cause: undefined });
  }
}
