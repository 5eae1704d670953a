import { MeshwrightError, defineErrorCodes } from '../core/index.js';

/** The codes of `meshwright/testing`. */
export const testingErrorCodes = defineErrorCodes({
  TESTING_NETNS_UNAVAILABLE: {
    when: 'A network-namespace lab cannot be made: not Linux, no leave to make namespaces, or a program is missing.',
    fix: 'Run as root with iproute2 installed, or inside the user namespace that `userNamespaceCommand` describes.',
  },
  TESTING_COMMAND_FAILED: {
    when: 'A program that a lab ran ended with a status other than zero, or took too long.',
    fix: 'Read its output in the message; pass `allowFailure` where failing is expected.',
  },
  TESTING_ARGUMENT_INVALID: {
    when: 'A test helper was given an argument it cannot use.',
    fix: 'Correct the argument that the message names.',
  },
});

export type TestingErrorCode = keyof typeof testingErrorCodes;

export class TestingError extends MeshwrightError<TestingErrorCode> {}
