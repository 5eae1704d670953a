/** A Debian package and what shows that it is there. */
export interface DebianPackage {
  readonly name: string;
  readonly command?: string;
  readonly file?: string;
  /** Other commands of it that are used. */
  readonly also?: readonly string[];
  /** The unit that it would start by itself. */
  readonly service?: string;
}

export const neededByAll: readonly DebianPackage[];
export const peers: readonly DebianPackage[];
export function installPackages(options?: { readonly withPeers?: boolean }): string | undefined;
