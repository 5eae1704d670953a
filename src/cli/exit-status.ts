/**
 * What the exit status of every `meshwright` command means, for scripts and CI.
 *
 * A command that ran and has a negative answer (a policy test failed, lint found errors, the request is denied) sets
 * `process.exitCode = exitStatus.negative`. A command that could not do its work throws; `runCli` reports the error.
 */
export const exitStatus = Object.freeze({
  /** Done, and the answer is positive. */
  ok: 0,
  /** Done, and the answer is negative. */
  negative: 1,
  /** Not done: unknown command or option, unreadable input, or an unexpected error. */
  unable: 2,
});
