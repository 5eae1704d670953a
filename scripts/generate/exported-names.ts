/** The names that each subpath exports, as the compiler sees them: values and types apart. */
import { join } from 'node:path';
import ts from 'typescript';

export type ExportedNames = Readonly<
  Record<string, { readonly values: readonly string[]; readonly types: readonly string[] }>
>;

/** Reads the sources under `root` of the published `modules`. */
export function exportedNames(root: string, modules: readonly string[]): ExportedNames {
  const entries = modules.map((name) => join(root, 'src', name, 'index.ts'));
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config,
    ts.sys,
    root,
  );
  const program = ts.createProgram(entries, options);
  const checker = program.getTypeChecker();

  const namesOf = (entry: string): ExportedNames[string] => {
    const file = program.getSourceFile(entry);
    const symbol = file === undefined ? undefined : checker.getSymbolAtLocation(file);
    const values: string[] = [];
    const types: string[] = [];
    for (const exported of symbol === undefined ? [] : checker.getExportsOfModule(symbol)) {
      const target = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
      // `export type { SomeClass }` exports no value, whatever the class is.
      const typeOnly = exported.declarations?.some((node) => ts.isExportSpecifier(node) && isTypeOnly(node)) ?? false;
      (target.flags & ts.SymbolFlags.Value && !typeOnly ? values : types).push(exported.name);
    }
    return { values: values.sort(), types: types.sort() };
  };
  return Object.fromEntries(modules.map((name, index) => [name, namesOf(entries[index] ?? '')]));
}

function isTypeOnly(node: ts.ExportSpecifier): boolean {
  return node.isTypeOnly || node.parent.parent.isTypeOnly;
}
