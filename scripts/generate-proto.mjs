// Generates src/<module>/gen/<module>_pb.ts from each proto/<module>.proto, offline, with the installed buf and protoc-gen-es.
// Generated enums are not erasable syntax: use oneof or strings in the .proto files.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const env = { ...process.env, PATH: `${resolve(root, 'node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}` };

for (const file of readdirSync(resolve(root, 'proto'))) {
  if (!file.endsWith('.proto')) continue;
  const module = file.slice(0, -'.proto'.length);
  execFileSync(
    'buf',
    ['generate', 'proto', '--template', 'proto/buf.gen.yaml', '--path', `proto/${file}`, '-o', `src/${module}`],
    {
      cwd: root,
      env,
      stdio: 'inherit',
    },
  );
}
