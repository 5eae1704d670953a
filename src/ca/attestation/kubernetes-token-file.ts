import { readFileIfPresent } from '../../internal/atomic-file.js';
import { CaError } from '../errors.js';
import type { AttestationEvidence } from './attestor.js';
import { kubernetesTokenEvidence } from './kubernetes-attestor.js';

const maxBytes = 16 * 1024;

/**
 * An agent's projected service-account token. It is read anew each time, since the kubelet replaces the file. Rejects with
 * `CA_NOT_ATTESTED` when the file cannot be read or is empty; nothing of it is in the message.
 */
export function kubernetesTokenFile(path: string): () => Promise<AttestationEvidence> {
  return async () => {
    let bytes: Buffer | undefined;
    try {
      bytes = await readFileIfPresent(path, maxBytes);
    } catch (cause) {
      throw new CaError('CA_NOT_ATTESTED', `the Kubernetes token in ${path} cannot be read`, { cause });
    }
    const value = bytes?.toString('utf8').trim() ?? '';
    if (value === '') throw new CaError('CA_NOT_ATTESTED', `expected a Kubernetes token in ${path}, found none`);
    return Object.freeze({ type: kubernetesTokenEvidence, value });
  };
}
