export { AuthzEngine } from './engine.js';
export type { CompileAsyncOptions } from './engine.js';
export type { SliceOptions } from './slices.js';
export type { PolicyAction } from './compiled-policy.js';
export type { AuthzOptions } from './options.js';
export { parseInstant } from './grant.js';
export type { Grant, GrantState } from './grant.js';
export { watchGrants } from './grant-watch.js';
export type { GrantWatch, GrantWatchOptions } from './grant-watch.js';
export type { AuthzRequest } from './request.js';
export type { ConnectionDecision, Decision } from './decision.js';
export type { Explanation, FailedField, PolicyExplanation, RuleExplanation } from './explanation.js';
export { AuthzCompileError, AuthzError, authzErrorCodes } from './errors.js';
export type { AuthzErrorCode } from './errors.js';
export { freezeManifest } from './content-key.js';
export { formatProblem } from './problem.js';
export type { PolicyProblem } from './problem.js';
export type { WrappedManifest } from './manifest.js';
export type { PathNormalization } from './path-normalization.js';
export type { CoverageReport, PolicyCoverage, RuleCoverage, ValueCoverage } from './coverage.js';
export { readPolicyTests, readRequest, readTestMesh, runPolicyTests } from './policy-tests.js';
export type {
  PolicyTest,
  PolicyTestFile,
  PolicyTestResult,
  TestMesh,
  TestService,
  TestWorkload,
} from './policy-tests.js';
export { lintPolicies } from './lint.js';
export type { LintSettings } from './lint.js';
export type { LintFacts, LintPort, LintService } from './lint/facts.js';
export type { PeerDestination, PeerMode } from './dialects/peer-authentication.js';
export type { JwtRule } from './dialects/request-authentication.js';
export { JwtAuthenticator } from './jwt-authenticator.js';
export type { FetchJwks, JwtAuthenticatorOptions, JwtOutcome } from './jwt-authenticator.js';
export { policySchemas } from './json-schemas.js';
export type { JsonSchema } from './json-schemas.js';
export { policyBuilder } from './policy-builder.js';
export type { Anyone, MeshNames, PolicyBuilder, PolicyBuilderOptions, PolicySource } from './policy-builder.js';
export { PolicyDraft } from './builder/draft.js';
export type { ExceptionSpec } from './builder/draft.js';
export type {
  ConditionKey,
  ConditionSpec,
  HeaderSpec,
  MeshAuthorizationManifest,
  OperationSpec,
  PolicyTarget,
  RuleSpec,
  SourceSpec,
} from './builder/manifest.js';
