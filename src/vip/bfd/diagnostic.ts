/** Diagnostic codes of RFC 5880 section 4.1, in the words that a state is reported with. */
export const diagnostics = [
  'none',
  'detection-time-expired',
  'echo-failed',
  'neighbour-signalled-down',
  'forwarding-plane-reset',
  'path-down',
  'concatenated-path-down',
  'administratively-down',
  'reverse-concatenated-path-down',
] as const;

export type BfdDiagnostic = (typeof diagnostics)[number] | 'unassigned';

/** The name of a code; `unassigned` for 9 to 31. */
export function describeDiagnostic(code: number): BfdDiagnostic {
  return diagnostics[code] ?? 'unassigned';
}

/** The codes that a session sets by itself. */
export const diagnosticCode = {
  none: 0,
  detectionTimeExpired: 1,
  neighbourSignalledDown: 3,
  administrativelyDown: 7,
} as const;
