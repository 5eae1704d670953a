import { readFileIfPresent } from '../../internal/atomic-file.js';
import { CaError } from '../errors.js';
import { isRootPin } from '../root-pin.js';

/**
 * The pins of the roots that a joining node trusts, one a line; blank lines and lines that begin with `#` are skipped. More
 * than one while the root is replaced. Read anew each time. Rejects with `CA_NOT_ATTESTED` when the file cannot be read,
 * `CA_REQUEST_INVALID` when a line is no pin or there is none.
 */
export function rootPinFile(path: string): () => Promise<readonly string[]> {
  return async () => {
    let text: string | undefined;
    try {
      text = (await readFileIfPresent(path, 64 * 1024))?.toString('utf8');
    } catch (cause) {
      throw new CaError('CA_NOT_ATTESTED', `the root pins in ${path} cannot be read`, { cause });
    }
    if (text === undefined) throw new CaError('CA_NOT_ATTESTED', `there is no file of root pins at ${path}`);
    const pins = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
    if (pins.length > 0 && pins.every(isRootPin)) return Object.freeze(pins);
    throw new CaError(
      'CA_REQUEST_INVALID',
      `expected root pins in ${path}, sha256:<64 hex digits, lower case> on each line`,
    );
  };
}
