import { writeFileSync } from 'node:fs';

/** A reporter of vitest: writes how many errors were outside of any test, which no other report in a file tells. */
export default class UnhandledErrors {
  onTestRunEnd(_modules, errors) {
    const path = process.env.MESHWRIGHT_UNHANDLED_FILE;
    if (path !== undefined) writeFileSync(path, String(errors.length));
  }
}
