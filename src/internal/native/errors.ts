import { MeshwrightError, defineErrorCodes } from '../../core/index.js';

/** The codes of everything that needs the native addon. */
export const nativeErrorCodes = defineErrorCodes({
  NATIVE_ADDON_MISSING: {
    when: 'A feature needs the native addon, and no prebuilt addon for this platform is in the package, or it does not load.',
    fix: 'In a checkout run `npm run build:native`; in an installed package reinstall it; linux x64 and arm64 are prebuilt.',
  },
  NATIVE_PLATFORM_UNSUPPORTED: {
    when: 'A feature needs the native addon on an operating system other than Linux.',
    fix: 'Run this part on Linux; everything that is not native works elsewhere.',
  },
});

export type NativeErrorCode = keyof typeof nativeErrorCodes;

export class NativeError extends MeshwrightError<NativeErrorCode> {}

/** A failed system call, as the addon and Node itself throw it. */
export interface SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
}

export function isSystemError(error: unknown, ...codes: readonly string[]): error is SystemError {
  if (!(error instanceof Error) || typeof (error as Partial<SystemError>).syscall !== 'string') return false;
  return codes.length === 0 || codes.includes((error as SystemError).code);
}
