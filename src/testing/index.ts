export { NetnsLab, userNamespaceCommand, whyNetnsUnavailable } from './netns-lab.js';
export type { LinkEnd, NamespaceOptions, NetnsLabOptions } from './netns-lab.js';
export { NetNamespace } from './netns-namespace.js';
export type { ExecOptions, ExecResult } from './netns-command.js';
export { TestingError, testingErrorCodes } from './errors.js';
export type { TestingErrorCode } from './errors.js';
