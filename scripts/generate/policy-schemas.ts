/**
 * The schema files of the package, for editors: one for each kind, and `policies.schema.json`, which picks by `kind` and
 * so suits files that mix kinds. They are written as draft-07, which every editor reads; no keyword differs there.
 */
type Schema = Readonly<Record<string, unknown>>;

const draft = 'http://json-schema.org/draft-07/schema#';

/** `AuthorizationPolicy` is `authorization-policy`. */
function fileName(kind: string): string {
  return `schemas/${kind.replace(/(?!^)([A-Z])/g, '-$1').toLowerCase()}.schema.json`;
}

/** The text of each file by its path in the repository. */
export function policySchemaFiles(schemas: Readonly<Record<string, Schema>>): Readonly<Record<string, string>> {
  const kinds = Object.keys(schemas);
  const any: Schema = {
    title: `Policies of the mesh: ${kinds.join(', ')}`,
    type: 'object',
    required: ['kind'],
    properties: { kind: { enum: kinds } },
    allOf: kinds.map((kind) => ({
      if: { properties: { kind: { const: kind } }, required: ['kind'] },
      then: withoutDraft(schemas[kind] ?? {}),
    })),
  };
  const files = kinds.map((kind): [string, Schema] => [fileName(kind), withoutDraft(schemas[kind] ?? {})]);
  return Object.fromEntries(
    [...files, ['schemas/policies.schema.json', any] as [string, Schema]].map(([path, schema]) => [
      path,
      `${JSON.stringify({ $schema: draft, ...schema }, undefined, 2)}\n`,
    ]),
  );
}

function withoutDraft(schema: Schema): Schema {
  return Object.fromEntries(Object.entries(schema).filter(([keyword]) => keyword !== '$schema'));
}
