/** A verified SPIFFE ID taken apart for matching. Verification happened before; here only the form is checked. */
export interface Principal {
  /** `spiffe://…` */
  readonly uri: string;
  /** Without the scheme: `td/ns/NS/sa/SA`, the form of Istio's `principals`. */
  readonly name: string;
  readonly trustDomain: string;
  /** The namespace, when the path starts with `/ns/<namespace>/`. */
  readonly namespace: string | undefined;
  /** `namespace/service-account`, when the path starts with `/ns/<namespace>/sa/<account>`. */
  readonly account: string | undefined;
  readonly serviceAccount: string | undefined;
  /** Whether the path is exactly `/ns/<namespace>/sa/<account>`: an ALLOW trusts no longer form, a DENY covers it. */
  readonly isWorkload: boolean;
  /** Whether the path is exactly `/agent/<node>`. */
  readonly isAgent: boolean;
}

/** `ends`: where the trust domain and every segment of the path end in `uri`. */
function takeApart(uri: string, ends: readonly number[]): Principal {
  const [trustDomainEnd = 0, , namespaceEnd, saEnd, accountEnd] = ends;
  const isNamed = namespaceEnd !== undefined && uri.startsWith('/ns/', trustDomainEnd);
  const namespace = isNamed ? uri.slice(trustDomainEnd + 4, namespaceEnd) : undefined;
  const hasAccount = isNamed && saEnd !== undefined && accountEnd !== undefined && uri.startsWith('/sa/', namespaceEnd);
  const serviceAccount = hasAccount ? uri.slice(saEnd + 1, accountEnd) : undefined;
  return {
    uri,
    name: uri.slice(scheme.length),
    trustDomain: uri.slice(scheme.length, trustDomainEnd),
    namespace,
    serviceAccount,
    account: namespace === undefined || serviceAccount === undefined ? undefined : `${namespace}/${serviceAccount}`,
    isWorkload: hasAccount && ends.length === 5,
    isAgent: ends.length === 3 && uri.startsWith('/agent/', trustDomainEnd),
  };
}

const scheme = 'spiffe://';
const maxLength = 2048;
const maxTrustDomainLength = 255;

/** Parses a SPIFFE ID (SPIFFE-ID section 2); undefined for anything else. */
export function parsePrincipal(uri: string): Principal | undefined {
  if (uri.length > maxLength || !uri.startsWith(scheme)) return undefined;
  const ends: number[] = [];
  let start = scheme.length;
  for (let at = start; at <= uri.length; at += 1) {
    const code = at === uri.length ? slash : uri.charCodeAt(at);
    if (code !== slash) {
      // Trust domains are lower case, paths may have capitals.
      if (!isIdCharacter(code) && !(ends.length > 0 && code >= 65 && code <= 90)) return undefined;
      continue;
    }
    if (at === start || (ends.length > 0 && isDots(uri, start, at))) return undefined;
    ends.push(at);
    start = at + 1;
  }
  return ends.length < 2 || (ends[0] ?? 0) - scheme.length > maxTrustDomainLength ? undefined : takeApart(uri, ends);
}

const slash = 47;

/** a-z, 0-9, dot, dash and underscore. */
function isIdCharacter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 45 || code === 46 || code === 95;
}

/** Whether the segment from `start` to `end` is `.` or `..`. */
function isDots(text: string, start: number, end: number): boolean {
  return end - start <= 2 && text.charCodeAt(start) === 46 && text.charCodeAt(end - 1) === 46;
}

/**
 * Remembers parsed principals, since a mesh has few and a request should not allocate. Bounded: when full it takes no
 * more for a while, so that a flood of new names costs their parsing, and neither memory nor the names that are known.
 */
export class PrincipalCache {
  readonly #entries = new Map<string, Principal>();
  readonly #maxEntries: number;
  #missesWhenFull = 0;

  constructor(maxEntries = 8192) {
    this.#maxEntries = maxEntries;
  }

  /** As `parsePrincipal`. */
  get(uri: string): Principal | undefined {
    const known = this.#entries.get(uri);
    if (known !== undefined) return known;
    const parsed = parsePrincipal(uri);
    if (parsed === undefined) return undefined;
    if (this.#entries.size >= this.#maxEntries) {
      this.#missesWhenFull += 1;
      if (this.#missesWhenFull < 16 * this.#maxEntries) return parsed;
      // The names in use have changed.
      this.#missesWhenFull = 0;
      this.#entries.clear();
    }
    this.#entries.set(uri, parsed);
    return parsed;
  }
}
