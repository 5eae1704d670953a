import { isMeshwrightError } from '../../src/core/index.js';

/** The code of the error that `run` throws; `undefined` when it throws none. Foreign errors pass through. */
export function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return codeOfError(error);
  }
}

/** The same for a promise. */
export async function codeOfAsync(run: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return codeOfError(error);
  }
}

function codeOfError(error: unknown): string {
  if (isMeshwrightError(error)) return error.code;
  throw error;
}
