import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes thrown by `kubernetes`. Defects of manifests are not thrown: they are reported as `ManifestProblem`s. */
export const kubernetesErrorCodes = defineErrorCodes({
  KUBERNETES_DIRECTORY_UNREADABLE: {
    when: 'The manifest directory does not exist, is not a directory, or may not be read.',
    fix: 'Make the directory and give the controller permission to list and read it.',
  },
  KUBERNETES_OPTION_INVALID: {
    when: 'An option of a manifest directory or of the mapping is out of its documented bounds.',
    fix: 'Correct the named option; its docstring gives the type, the default and the bounds.',
  },
  KUBERNETES_LAST_GOOD_UNWRITABLE: {
    when: 'The last good form of the manifests could not be written to the data directory.',
    fix: 'Check free space and permissions of the data directory; without it a restart forgets last good forms.',
  },
});

export type KubernetesErrorCode = keyof typeof kubernetesErrorCodes;

export class KubernetesError extends MeshwrightError<KubernetesErrorCode> {}
