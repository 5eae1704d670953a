/** Prints `value` as JSON, or its members one per line. */
export function print(flags: { readonly json?: true }, value: Readonly<Record<string, unknown>>): void {
  if (flags.json === true) {
    console.log(JSON.stringify(value, undefined, 2));
    return;
  }
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue;
    const shown =
      member instanceof Date ? member.toISOString() : typeof member === 'string' ? member : JSON.stringify(member);
    console.log(`${`${name}:`.padEnd(16)} ${shown}`);
  }
}
