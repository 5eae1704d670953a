import type { Logger } from '../core/index.js';
import { formatProblem } from './manifest-problem.js';
import type { ManifestProblem } from './manifest-problem.js';

/** Logs each problem when it appears and once more when it is gone, however often the files are read. */
export class ProblemLog {
  readonly #logger: Logger;
  #known = new Map<string, ManifestProblem>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  report(problems: readonly ManifestProblem[]): void {
    const now = new Map(problems.map((problem) => [formatProblem(problem), problem]));
    for (const [text, problem] of now) {
      if (this.#known.has(text)) continue;
      const { severity, ...fields } = problem;
      const level = severity === 'warning' ? 'warn' : severity;
      this.#logger[level](severity === 'info' ? 'manifest note' : 'manifest problem', fields);
    }
    for (const [text, problem] of this.#known) {
      if (now.has(text) || problem.severity === 'info') continue;
      this.#logger.info('manifest problem solved', {
        file: problem.file,
        object: problem.object,
        field: problem.field,
      });
    }
    this.#known = now;
  }
}
