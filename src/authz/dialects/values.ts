/** What each kind of value must look like; a value that can never match anything is an error, a doubtful one a warning. */
import { isObjectName } from '../manifest.js';
import { ipBlockDefect } from '../ip-match.js';
import { globDefect } from '../segment-glob.js';
import { isPathTemplate, pathTemplateDefect } from '../path-template.js';
import { isPrincipalName } from '../terms/identity.js';
import type { ValueDefect } from './fields.js';

export function anyValueCheck(): undefined {
  return undefined;
}

/** A star that is neither first nor last (or is second to a leading one) is a literal star. */
function hasInnerStar(text: string): boolean {
  const body = text.startsWith('*') ? text.slice(1) : text.endsWith('*') ? text.slice(0, -1) : text;
  return body.includes('*');
}

/** For string values where a literal star is possible, though hardly meant. */
export function stringCheck(text: string): ValueDefect | undefined {
  if (!hasInnerStar(text)) return undefined;
  return {
    severity: 'warning',
    code: 'inner-star',
    expected: 'a star only at the beginning or only at the end',
    fix: 'this star is a literal character; use a prefix, a suffix, or for paths a template with {*}',
  };
}

export function principalCheck(text: string): ValueDefect | undefined {
  const expected = 'a principal such as cluster.local/ns/shop/sa/web, or a prefix or suffix of one';
  if (text.includes('://')) {
    return {
      code: 'scheme-in-principal',
      expected,
      fix: `principals have no scheme: write ${JSON.stringify(text.replace(/^.*?:\/\//, ''))}`,
    };
  }
  if (text === '*') return undefined;
  if (hasInnerStar(text)) {
    return {
      code: 'inner-star',
      expected,
      fix: 'a star inside is literal and no principal contains one; use a prefix or a suffix',
    };
  }
  const never = { code: 'never-matches', expected, fix: 'no SPIFFE ID has this form: td/ns/NAMESPACE/sa/ACCOUNT' };
  if (text.startsWith('*')) return /^[A-Za-z0-9._/-]+$/.test(text.slice(1)) && !text.endsWith('/') ? undefined : never;
  if (text.endsWith('*')) {
    const prefix = text.slice(0, -1);
    if (!/^[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*\/?$/.test(prefix)) return never;
    if (prefix.endsWith('/')) return undefined;
    return {
      severity: 'warning',
      code: 'prefix-crosses-segment',
      expected: 'a prefix that ends with a slash',
      fix: `${JSON.stringify(text)} also matches names that only begin alike; write ${JSON.stringify(`${prefix}/*`)} for the whole segment`,
    };
  }
  return isPrincipalName(text) ? undefined : never;
}

export function namespacePatternCheck(text: string): ValueDefect | undefined {
  return /^[a-z0-9*](?:[a-z0-9*-]*[a-z0-9*])?$/.test(text)
    ? undefined
    : {
        code: 'never-matches',
        expected: 'a namespace name, or a pattern with * over one',
        fix: 'namespaces are lower-case letters, digits and dashes',
      };
}

export function namespaceCheck(text: string): ValueDefect | undefined {
  return isObjectName(text) && !text.includes('.')
    ? undefined
    : { expected: 'a namespace name', fix: 'namespaces are compared exactly; leave the field out to match any' };
}

/** `name` or `namespace/name`. */
export function istioServiceAccountCheck(text: string): ValueDefect | undefined {
  const parts = text.split('/');
  return parts.length <= 2 && parts.every((part) => isObjectName(part))
    ? undefined
    : { expected: 'a service account: name or namespace/name', fix: 'wildcards are not allowed here; use principals' };
}

/** `name`, `namespace/name` or any namespace. */
export function serviceAccountCheck(text: string): ValueDefect | undefined {
  return istioServiceAccountCheck(text.startsWith('*/') ? `any/${text.slice(2)}` : text) === undefined
    ? undefined
    : {
        expected: 'a service account: name, namespace/name or */name',
        fix: 'names are compared exactly; for patterns use spiffeIds',
      };
}

export function trustDomainCheck(text: string): ValueDefect | undefined {
  if (text === '*' || /^\*?[a-z0-9._-]+$|^[a-z0-9._-]+\*$/.test(text)) return undefined;
  return {
    code: text.slice(1, -1).includes('*') ? 'inner-star' : 'never-matches',
    expected: 'a trust domain such as cluster.local, or a prefix or suffix of one',
    fix: 'trust domains are lower case, without a scheme and without a slash',
  };
}

export function ipBlockCheck(text: string): ValueDefect | undefined {
  const fix = ipBlockDefect(text);
  return fix === undefined ? undefined : { code: 'ip-malformed', expected: 'an IP address or block', fix };
}

export function portCheck(text: string): ValueDefect | undefined {
  return /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65535
    ? undefined
    : {
        code: 'port-malformed',
        expected: 'a port from 1 to 65535',
        fix: 'write the port as decimal digits, in quotes',
      };
}

export function istioPathCheck(text: string): ValueDefect | undefined {
  const expected = 'a path, a prefix or suffix of one, or a template such as /orders/{*}';
  if (isPathTemplate(text)) {
    const fix = pathTemplateDefect(text);
    return fix === undefined ? undefined : { code: 'template-malformed', expected, fix };
  }
  if (!text.startsWith('/') && !text.startsWith('*'))
    return { code: 'never-matches', expected, fix: 'start it with a slash' };
  return stringCheck(text);
}

export function methodCheck(text: string): ValueDefect | undefined {
  return /^[A-Z0-9!#$%&'+.^_`|~-]+$/.test(text)
    ? undefined
    : {
        expected: 'an HTTP method in capitals',
        fix: `methods are compared exactly; write ${JSON.stringify(text.toUpperCase())}, or leave methods out to match any`,
      };
}

export function spiffeIdCheck(text: string): ValueDefect | undefined {
  const expected = 'a SPIFFE ID or a glob over one, such as spiffe://cluster.local/ns/shop/sa/web-*';
  if (!text.startsWith('spiffe://')) return { expected, fix: 'start it with spiffe://', code: 'scheme-missing' };
  const rest = text.slice('spiffe://'.length);
  const defect = globDefect(rest, 'spiffe');
  if (defect !== undefined) return { expected, ...defect };
  if (!rest.includes('/')) {
    return {
      expected,
      fix: 'this is a trust domain without a path, which no peer presents; write /** after it to match all of it',
      code: 'never-matches',
    };
  }
  return undefined;
}

export function pathCheck(text: string): ValueDefect | undefined {
  const expected = 'a path or a glob over one, such as /api/v1/*';
  if (!text.startsWith('/')) return { expected, fix: 'start it with a slash', code: 'path-malformed' };
  const defect = globDefect(text, 'path');
  if (defect !== undefined) return { expected, ...defect };
  if (/%(?![0-9A-F]{2})/.test(text))
    return { expected, fix: 'write escapes as % and two capital hexadecimal digits', code: 'path-malformed' };
  // As `REFUSE_AMBIGUOUS`: these escapes are decoded or refused before a rule sees the path.
  const escape = /%(?:2[5DEF]|3[0-9B]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AEF]|[01][0-9A-F])/.exec(text);
  if (escape !== null || !isUtf8(text)) {
    return {
      expected,
      fix: `no path that reaches a rule has the escape ${escape?.[0] ?? 'of bytes that are not UTF-8'}; write the character itself`,
      code: 'never-matches',
    };
  }
  if (text.includes('//') || /\/\.\.?(?=\/|$)/.test(text)) {
    return { expected, fix: 'no path that reaches a rule has an empty or a dot segment', code: 'never-matches' };
  }
  return undefined;
}

/** Native hosts: exact, or with one star at the beginning. */
export function hostCheck(text: string): ValueDefect | undefined {
  return /^(?:\*|\*?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?:[1-9]\d{0,4}|\*))?$/.test(text)
    ? undefined
    : {
        expected: 'a host such as shop.example, *.shop.example or shop.example:8080',
        fix: 'a star may stand only at the beginning, or for the port',
      };
}

function isUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
