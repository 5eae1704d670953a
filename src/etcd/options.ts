import { systemClock, systemRandom } from '../core/index.js';
import type { Clock, Random } from '../core/index.js';
import { EtcdError } from './errors.js';

export interface EtcdTlsOptions {
  /** PEM of the authorities that the servers are verified against. Default: those that Node trusts. */
  readonly ca?: string | undefined;
  /** PEM of the client certificate (chain), where etcd asks for one. */
  readonly cert?: string | undefined;
  /** PEM of its private key. */
  readonly key?: string | undefined;
  /** The name expected in the servers' certificates. Default: the host of each endpoint. */
  readonly servername?: string | undefined;
}

export interface EtcdAuth {
  readonly username: string;
  readonly password: string;
}

export interface EtcdLeaseStoreOptions {
  /** `https://host:2379` or `http://host:2379`: one to 16, all of one cluster. The next one is tried when one does not answer. */
  readonly endpoints: readonly string[];
  /** All keys begin with it. Default `/meshwright/leases/`. */
  readonly prefix?: string | undefined;
  /** For `https` endpoints; TLS 1.2 or newer. */
  readonly tls?: EtcdTlsOptions | undefined;
  /** For clusters with authentication. It is sent as it is: use `https`. */
  readonly auth?: EtcdAuth | undefined;
  /** How long one endpoint may take for one request: 50 to 60 000 ms. Default 500. */
  readonly requestTimeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

export interface ResolvedEtcdOptions {
  readonly endpoints: readonly string[];
  readonly prefix: string;
  readonly tls: EtcdTlsOptions;
  readonly auth: EtcdAuth | undefined;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
}

/** Throws `ETCD_CONFIGURATION_INVALID`. */
export function resolveEtcdOptions(options: EtcdLeaseStoreOptions): ResolvedEtcdOptions {
  const { endpoints, prefix = '/meshwright/leases/', tls = {}, auth, requestTimeoutMs = 500 } = options;
  if (!Array.isArray(endpoints) || endpoints.length < 1 || endpoints.length > 16) {
    throw invalid('endpoints', 'must be 1 to 16 URLs');
  }
  const urls = endpoints.map(endpointUrl);
  if (new Set(urls).size !== urls.length) throw invalid('endpoints', 'names one twice');
  const isSecure = urls.some((url) => url.startsWith('https:'));
  if (!isSecure && options.tls !== undefined) throw invalid('tls', 'is given, and no endpoint is https');
  if ((tls.cert === undefined) !== (tls.key === undefined)) throw invalid('tls', 'must have cert and key, or neither');
  if (!/^[\x21-\x7e]{1,256}$/.test(prefix)) throw invalid('prefix', 'must be 1 to 256 printable ASCII characters');
  if (auth !== undefined && (auth.username === '' || auth.password === '')) {
    throw invalid('auth', 'must have a username and a password');
  }
  if (!Number.isFinite(requestTimeoutMs) || requestTimeoutMs < 50 || requestTimeoutMs > 60_000) {
    throw invalid('requestTimeoutMs', `must be 50 to 60000, got ${String(requestTimeoutMs)}`);
  }
  const { clock = systemClock, random = systemRandom } = options;
  return Object.freeze({ endpoints: urls, prefix, tls, auth, requestTimeoutMs, clock, random });
}

function endpointUrl(text: unknown): string {
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined;
  const plain =
    url !== undefined && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (!plain || !['http:', 'https:'].includes(url.protocol)) {
    // Not the text itself: somebody may have put a password into it.
    throw invalid('endpoints', 'has an entry that is not http://host:port or https://host:port');
  }
  return url.origin;
}

function invalid(option: string, what: string): EtcdError {
  return new EtcdError('ETCD_CONFIGURATION_INVALID', `the option ${option} of the etcd store ${what}`, {
    fields: { option },
  });
}
