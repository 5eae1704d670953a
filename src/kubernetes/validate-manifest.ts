import { Ajv } from 'ajv';
import type { ErrorObject, ValidateFunction } from 'ajv';
import { tryParseIp } from '../core/index.js';
import type { KnownKind } from './kinds.js';
import { formatFieldPath, showValue } from './manifest-problem.js';
import type { FieldPath } from './manifest-problem.js';
import { manifestSchemas } from './schemas.js';

export interface SchemaDefect {
  readonly path: FieldPath;
  readonly expected: string;
  readonly got: string;
  readonly fix: string;
}

const formats: Readonly<Record<string, string>> = {
  ip: 'an IP address',
  'cluster-ip': 'an IP address, "None" or nothing',
  'dns-name': 'a name of lower-case letters, digits, "-" and ".", at most 253 characters',
  'port-or-name': 'a port from 1 to 65535 or the name of a port',
};

const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true, verbose: true });
ajv.addFormat('ip', (value: string) => tryParseIp(value) !== undefined);
ajv.addFormat('cluster-ip', (value: string) => value === 'None' || value === '' || tryParseIp(value) !== undefined);
ajv.addFormat('dns-name', {
  type: 'string',
  // No wider than the names of mesh resources: one odd name must cost its own object, not the whole state.
  validate: (value: string) => /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(value),
});
ajv.addFormat('port-or-name', (value: string) => /^[a-z0-9-]{1,63}$/.test(value) && /[a-z]/.test(value));

const validators = new Map<KnownKind, ValidateFunction>();

/** How `manifest` departs from what the mesh reads of `kind`: at most ten defects, none when it is fine. */
export function schemaDefects(kind: KnownKind, manifest: unknown): readonly SchemaDefect[] {
  let validate = validators.get(kind);
  if (validate === undefined) {
    validate = ajv.compile(manifestSchemas[kind]);
    validators.set(kind, validate);
  }
  if (validate(withoutNulls(manifest))) return [];
  return (validate.errors ?? []).slice(0, 10).map(toDefect);
}

/** Leaves out `null`, which Kubernetes writes for "not set". */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([key, field]) => [key, withoutNulls(field)]),
  );
}

function toDefect(error: ErrorObject): SchemaDefect {
  const path = error.instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  const params = error.params as Readonly<Record<string, unknown>>;
  if (error.keyword === 'required') {
    const missing = [...path, String(params['missingProperty'])];
    return { path: missing, expected: 'a value', got: 'nothing', fix: `add ${formatFieldPath(missing)}` };
  }
  const got = showValue(error.data);
  const fix = `correct ${path.length === 0 ? 'the object' : formatFieldPath(path)}`;
  return { path, expected: expectation(error, params), got, fix };
}

function expectation(error: ErrorObject, params: Readonly<Record<string, unknown>>): string {
  const { keyword, message } = error;
  switch (keyword) {
    case 'type': {
      const types = Array.isArray(params['type']) ? params['type'] : [params['type']];
      return types.map((type) => typeNames[String(type)] ?? String(type)).join(' or ');
    }
    case 'enum':
      return `one of ${(params['allowedValues'] as readonly unknown[]).join(', ')}`;
    case 'format':
      return formats[String(params['format'])] ?? String(params['format']);
    case 'minimum':
    case 'maximum': {
      const { minimum, maximum } = error.parentSchema as { readonly minimum: number; readonly maximum: number };
      const noun = minimum === 1 && maximum === 65535 ? 'a port' : 'a number';
      return `${noun} from ${String(minimum)} to ${String(maximum)}`;
    }
    default:
      return message ?? keyword;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text (in quotes where YAML would read something else)',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
};
