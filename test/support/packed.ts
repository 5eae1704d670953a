import { inject } from 'vitest';
import type { PackedPackage } from './packed-package.js';

/** The tarball and its consumer; throws where the package could not be built, packed or installed. */
export function packedPackage(): PackedPackage {
  const packed = inject('packed');
  if ('failure' in packed) throw new Error(`there is no package to test: ${packed.failure}`);
  return packed;
}
