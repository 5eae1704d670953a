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

const spiffeForm = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]+)+$/;
const maxLength = 2048;

/** Parses a SPIFFE ID (SPIFFE-ID section 2); undefined for anything else. */
export function parsePrincipal(uri: string): Principal | undefined {
  if (uri.length > maxLength || !spiffeForm.test(uri)) return undefined;
  const name = uri.slice('spiffe://'.length);
  const segments = name.split('/');
  if (segments.some((segment, index) => index > 0 && (segment === '.' || segment === '..'))) return undefined;
  const [trustDomain = '', first, second, third, fourth] = segments;
  const namespace = first === 'ns' ? second : undefined;
  const serviceAccount = namespace !== undefined && third === 'sa' ? fourth : undefined;
  return {
    uri,
    name,
    trustDomain,
    namespace,
    serviceAccount,
    account: namespace !== undefined && serviceAccount !== undefined ? `${namespace}/${serviceAccount}` : undefined,
    isWorkload: serviceAccount !== undefined && segments.length === 5,
    isAgent: first === 'agent' && segments.length === 3,
  };
}

/**
 * Remembers parsed principals, since a mesh has few and a request should not allocate. Bounded: it forgets everything
 * when full, so a flood of new names costs parsing and never memory.
 */
export class PrincipalCache {
  readonly #entries = new Map<string, Principal | undefined>();
  readonly #maxEntries: number;

  constructor(maxEntries = 8192) {
    this.#maxEntries = maxEntries;
  }

  /** As `parsePrincipal`. */
  get(uri: string): Principal | undefined {
    const known = this.#entries.get(uri);
    if (known !== undefined) return known;
    const parsed = parsePrincipal(uri);
    if (parsed === undefined) return undefined;
    if (this.#entries.size >= this.#maxEntries) this.#entries.clear();
    this.#entries.set(uri, parsed);
    return parsed;
  }
}
