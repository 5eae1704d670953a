// Rules that encode a decision of this project, each with its reason; the formatter decides the rest.
import tseslint from 'typescript-eslint';

const ambientTime = 'take a Clock (core/clock.ts), so that tests own the time';
const ambientRandom = 'take a Random (core/random.ts), so that tests can repeat';
const ambientEnv = 'configuration arrives as options; only the command line and the examples read the environment';

/** Layers of src/: a module imports lower layers only, never sideways. test/package/layering.test.ts is the full check. */
const layers = [
  ['core', 'internal'],
  ['spiffe'],
  ['ca', 'authz', 'snapshot', 'tproxy', 'tunnel', 'vip', 'traffic'],
  ['mesh'],
  ['kubernetes', 'etcd', 'workload-api', 'ext-authz', 'telemetry', 'testing'],
  ['cli'],
];
const modules = layers.flat();

/** The import rule of one module; `forbidden` are the modules that are not below it. */
function importRule(forbidden) {
  return [
    'error',
    {
      patterns: [
        { regex: '^meshwright(/|$)', message: 'inside src/ use a relative path' },
        { regex: '^(node:)?timers(/promises)?$', message: ambientTime },
        {
          regex: `^(\\.\\./)+(?!internal/)(${modules.join('|')})/(?!index\\.js$)`,
          message: 'import a module through its index.js',
        },
        ...(forbidden.length === 0
          ? []
          : [
              {
                regex: `^(\\.\\./)+(${forbidden.join('|')})/`,
                message: 'a module imports lower layers only (docs/architecture.md)',
              },
            ]),
      ],
    },
  ];
}

const layerRules = layers.flatMap((names, layer) =>
  names.map((name) => {
    const siblings = name === 'testing' || layer === 0 ? [] : names.filter((other) => other !== name);
    const forbidden = [...siblings, ...layers.slice(layer + 1).flat()];
    return {
      files: [`src/${name}/**/*.ts`],
      rules: { '@typescript-eslint/no-restricted-imports': importRule(forbidden) },
    };
  }),
);

export default tseslint.config(
  {
    ignores: [
      'dist/',
      'build/',
      'prebuilds/',
      'coverage/',
      'node_modules/',
      '**/gen/**',
      'test/consumer/',
      'examples/policy-ci/',
      'native/',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // A promise that nobody waits for is an error that nobody sees.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { attributes: false } }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      '@typescript-eslint/use-unknown-in-catch-callback-variable': 'error',
      // A new variant must be handled everywhere; forgetting one would fail open.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unsafe-assignment': 'error',
      '@typescript-eslint/no-unsafe-return': 'error',
      '@typescript-eslint/no-unsafe-call': 'error',
      '@typescript-eslint/no-unsafe-member-access': 'error',
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/no-implied-eval': 'error',
      '@typescript-eslint/restrict-plus-operands': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/prefer-promise-reject-errors': 'off',
      eqeqeq: ['error', 'always'],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-console': 'off',
      'no-control-regex': 'off',
      'no-debugger': 'error',
      'no-unsafe-finally': 'error',
      'no-constant-condition': ['error', { checkLoops: false }],
      'no-param-reassign': 'error',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-console': ['error', {}],
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'setInterval'].map((name) => ({ name, message: ambientTime })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: ambientTime },
        { object: 'performance', property: 'now', message: ambientTime },
        { object: 'globalThis', property: 'setTimeout', message: ambientTime },
        { object: 'globalThis', property: 'setInterval', message: ambientTime },
        { object: 'Math', property: 'random', message: ambientRandom },
        { object: 'process', property: 'env', message: ambientEnv },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: ambientTime },
        { selector: 'TSNonNullAssertion', message: 'narrow it, or say in an error what was expected' },
        { selector: 'ExportDefaultDeclaration', message: 'export by name' },
      ],
    },
  },
  ...layerRules,
  {
    // The two places where the ambient clock and generator become injectable.
    files: ['src/core/clock.ts', 'src/core/random.ts'],
    rules: { 'no-restricted-globals': 'off', 'no-restricted-properties': 'off' },
  },
  {
    // A program that we start gets the environment that we were started with.
    files: ['src/tproxy/run-command.ts', 'src/testing/netns-command.ts'],
    rules: {
      'no-restricted-properties': ['error', { object: 'Date', property: 'now', message: ambientTime }],
    },
  },
  {
    files: ['src/cli/**/*.ts'],
    rules: { 'no-restricted-properties': 'off', 'no-console': 'off' },
  },
  {
    files: ['examples/**/*.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': [
        'error',
        { patterns: [{ regex: '(^|/)src/', message: "examples import the package by name: 'meshwright/…'" }] },
      ],
    },
  },
  {
    // Tests read parsed JSON and foreign libraries; a wrong guess there fails the test itself.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    rules: {
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      'no-param-reassign': 'off',
    },
  },
  {
    files: ['**/*.{js,mjs}'],
    rules: {
      'prefer-const': 'error',
      'no-var': 'error',
      eqeqeq: 'error',
      'no-undef': 'off',
      'no-unused-vars': 'error',
    },
  },
);
