/**
 * The path a rule is compared with. A proxy that compares one reading of a path while the application acts on another
 * can be walked around, so the default refuses every path that has two readings; the other modes are those of Istio's
 * `meshConfig.pathNormalization`, for data paths that forward the normalised form.
 */

export const pathNormalizations = [
  'REFUSE_AMBIGUOUS',
  'NONE',
  'BASE',
  'MERGE_SLASHES',
  'DECODE_AND_MERGE_SLASHES',
] as const;

/**
 * - `REFUSE_AMBIGUOUS`: escapes of unreserved characters are decoded (RFC 3986 section 6.2.2.2); a path with `//`, a dot
 *   segment, `;`, a backslash, a fragment, a control character or non-ASCII byte, an escaped slash, backslash, semicolon,
 *   percent or control character, a malformed escape or escaped bytes that are not UTF-8 has no answer.
 * - `NONE`: as received, without query and fragment.
 * - `BASE`: unreserved escapes decoded, `\` becomes `/`, dot segments resolved.
 * - `MERGE_SLASHES`: BASE, then runs of `/` become one.
 * - `DECODE_AND_MERGE_SLASHES`: `%2F` and `%5C` become slashes first, then MERGE_SLASHES.
 */
export type PathNormalization = (typeof pathNormalizations)[number];

export interface AmbiguousPath {
  readonly ambiguous: string;
}

/** Normalises once; decoding is never repeated. Allocates nothing for a plain path. */
export function normalizePath(raw: string, mode: PathNormalization): string | AmbiguousPath {
  if (isPlain(raw)) return raw;
  const query = raw.indexOf('?');
  const withoutQuery = query < 0 ? raw : raw.slice(0, query);
  if (mode === 'REFUSE_AMBIGUOUS') return refuseAmbiguous(withoutQuery);
  const fragment = withoutQuery.indexOf('#');
  const path = fragment < 0 ? withoutQuery : withoutQuery.slice(0, fragment);
  if (mode === 'NONE') return path;
  if (!path.startsWith('/')) return { ambiguous: 'it does not start with a slash' };
  if (/%00|\0/.test(path)) return { ambiguous: 'it contains a null byte' };
  const slashed = mode === 'DECODE_AND_MERGE_SLASHES' ? path.replace(/%2f|%5c/gi, '/') : path;
  const resolved = resolveDots(decodeUnreserved(slashed).replaceAll('\\', '/'));
  return mode === 'BASE' ? resolved : resolved.replace(/\/{2,}/g, '/');
}

/** Whether every mode leaves `path` as it is: letters, digits and harmless marks, no empty or dot segment. */
function isPlain(path: string): boolean {
  if (path.charCodeAt(0) !== 47) return false;
  let previous = 0;
  for (let index = 0; index < path.length; index += 1) {
    const code = path.charCodeAt(index);
    if (code === 47 /* / */ || code === 46 /* . */) {
      // A dot or slash right after a slash is looked at closely.
      if (previous === 47) return false;
    } else if (!isUnreserved(code)) {
      return false;
    }
    previous = code;
  }
  return true;
}

function isUnreserved(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 45 ||
    code === 46 ||
    code === 95 ||
    code === 126
  );
}

function refuseAmbiguous(path: string): string | AmbiguousPath {
  if (!path.startsWith('/')) return { ambiguous: 'it does not start with a slash' };
  if (path.includes('\\')) return { ambiguous: 'it contains a backslash' };
  if (path.includes(';')) return { ambiguous: 'it contains a semicolon (path parameters)' };
  if (path.includes('#')) return { ambiguous: 'it contains a fragment' };
  if (/[^\x21-\x7e]/.test(path))
    return { ambiguous: 'it contains a space, a control character or a character that is not ASCII' };
  if (/%(?![0-9a-f]{2})/i.test(path)) return { ambiguous: 'it contains a malformed escape' };
  const escaped = /%(?:2f|5c|3b|[01][0-9a-f]|7f)/i.exec(path);
  if (escaped !== null) return { ambiguous: `it contains ${escaped[0]}` };
  if (/%25/.test(path))
    return { ambiguous: 'it contains an escaped percent sign, which a second decoding would act on' };
  if (/%[89a-f]/i.test(path) && !isUtf8(path)) return { ambiguous: 'it contains escaped bytes that are not UTF-8' };
  const decoded = decodeUnreserved(path);
  if (decoded.includes('//')) return { ambiguous: 'it contains an empty segment (//)' };
  if (/\/\.\.?(?=\/|$)/.test(decoded)) return { ambiguous: 'it contains a dot segment' };
  return decoded;
}

/** Valid, shortest-form UTF-8; `decodeURIComponent` refuses overlong forms and surrogates. */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

/** Escapes of unreserved characters decoded, the hexadecimal digits of all others in upper case. */
function decodeUnreserved(path: string): string {
  if (!path.includes('%')) return path;
  return path.replace(/%([0-9a-f]{2})/gi, (escape, hex: string) => {
    const code = Number.parseInt(hex, 16);
    return isUnreserved(code) ? String.fromCharCode(code) : escape.toUpperCase();
  });
}

/** RFC 3986 section 5.2.4. */
function resolveDots(path: string): string {
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.split('/');
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    if (segment === '..') {
      if (kept.length > 1) kept.pop();
      if (last) kept.push('');
    } else if (segment === '.') {
      if (last) kept.push('');
    } else {
      kept.push(segment);
    }
  });
  return kept.length === 1 ? '/' : kept.join('/');
}
