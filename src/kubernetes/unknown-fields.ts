import { problemAt } from './manifest-object.js';
import type { ManifestObject } from './manifest-object.js';
import { formatFieldPath } from './manifest-problem.js';
import type { FieldPath } from './manifest-problem.js';
import type { MappingContext } from './mapping-context.js';

type Schema = Readonly<Record<string, unknown>>;

/** A field that nobody reads is mostly a slip of the pen; the object stands all the same, as Kubernetes has it. */
export function warnOfUnknownFields(
  context: MappingContext,
  object: ManifestObject,
  schema: Schema,
  spec: unknown,
): void {
  for (const path of unknownFields(schema, spec, ['spec'])) {
    context.problems.push(
      problemAt(object, path, {
        severity: 'warning',
        expected: `one of the fields ${fieldsBeside(schema, path).join(', ')}`,
        got: String(path.at(-1)),
        fix: `correct or remove ${formatFieldPath(path)}; it is not read`,
      }),
    );
  }
}

/**
 * The fields of `value` that a schema made of `properties` and `items` does not name; below those, and where a schema says
 * nothing of what is inside, nothing is looked at.
 */
function unknownFields(schema: Schema, value: unknown, path: FieldPath): readonly FieldPath[] {
  const items = schema['items'] as Schema | undefined;
  if (Array.isArray(value)) {
    return items === undefined ? [] : value.flatMap((item, index) => unknownFields(items, item, [...path, index]));
  }
  const properties = schema['properties'] as Readonly<Record<string, Schema>> | undefined;
  if (properties === undefined || typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, field]) => {
    const inner = Object.hasOwn(properties, key) ? properties[key] : undefined;
    return inner === undefined ? [[...path, key]] : unknownFields(inner, field, [...path, key]);
  });
}

/** Those beside it, for whoever mistyped it. */
function fieldsBeside(schema: Schema, path: FieldPath): readonly string[] {
  let here: Schema | undefined = schema;
  for (const part of path.slice(1, -1)) {
    const next: unknown =
      typeof part === 'number' ? here?.['items'] : (here?.['properties'] as Schema | undefined)?.[part];
    here = next as Schema | undefined;
  }
  return Object.keys((here?.['properties'] as Schema | undefined) ?? {});
}
