import { describe, expect, it } from 'vitest';
import { AuthzCompileError, AuthzEngine } from '../../src/authz/index.js';
import type { PeerDestination } from '../../src/authz/index.js';

let count = 0;
function peer(spec: Record<string, unknown>, namespace = 'shop'): unknown {
  count += 1;
  return {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name: `p${String(count)}`, namespace },
    spec,
  };
}
const mtls = (mode: string): Record<string, unknown> => ({ mtls: { mode } });
const selector = { selector: { matchLabels: { app: 'api' } } };
const mode = (manifests: readonly unknown[], change: Partial<PeerDestination> = {}): string | undefined =>
  AuthzEngine.compile(manifests).peerMode({ namespace: 'shop', labels: { app: 'api' }, port: 80, ...change });

describe('PeerAuthentication', () => {
  it('port before workload before namespace before mesh', () => {
    const mesh = peer(mtls('DISABLE'), 'istio-system');
    const namespace = peer(mtls('PERMISSIVE'));
    const workload = peer({ ...selector, ...mtls('STRICT') });
    const port = peer({ ...selector, portLevelMtls: { 80: { mode: 'PERMISSIVE' } } });
    expect(mode([])).toBeUndefined();
    expect(mode([mesh])).toBe('DISABLE');
    expect(mode([mesh, namespace])).toBe('PERMISSIVE');
    expect(mode([mesh, namespace, workload])).toBe('STRICT');
    expect(mode([mesh, namespace, workload, port])).toBe('PERMISSIVE');
    expect(mode([mesh, namespace, workload, port], { port: 81 })).toBe('STRICT');
    expect(mode([mesh, namespace, workload], { labels: { app: 'web' } })).toBe('PERMISSIVE');
    expect(mode([mesh, namespace], { namespace: 'other' })).toBe('DISABLE');
  });

  it('UNSET and a missing mode leave it to the next wider one; of several the strictest counts', () => {
    expect(mode([peer(mtls('STRICT'), 'istio-system'), peer(mtls('UNSET')), peer({})])).toBe('STRICT');
    expect(mode([peer(mtls('PERMISSIVE')), peer(mtls('STRICT')), peer(mtls('DISABLE'))])).toBe('STRICT');
  });

  it('STRICT denies what has no principal, whatever other policies allow', () => {
    const allow = {
      apiVersion: 'security.istio.io/v1',
      kind: 'AuthorizationPolicy',
      metadata: { name: 'a', namespace: 'shop' },
      spec: { rules: [{}] },
    };
    const engine = AuthzEngine.compile([peer(mtls('STRICT')), allow]);
    const destination = { namespace: 'shop', labels: {}, port: 80 };
    expect(engine.authorize({ source: {}, destination })).toMatchObject({
      allowed: false,
      policy: expect.stringMatching(/^shop\/p/) as string,
    });
    expect(engine.authorizeConnection({ source: {}, destination }).verdict).toBe('deny');
    expect(engine.authorize({ source: { principal: 'spiffe://cluster.local/ns/a/sa/b' }, destination }).allowed).toBe(
      true,
    );
    expect(AuthzEngine.compile([peer(mtls('PERMISSIVE')), allow]).authorize({ source: {}, destination }).allowed).toBe(
      true,
    );
  });

  it.each([
    [{ mtls: { mode: 'strict' } }, 'spec.mtls.mode'],
    [{ mtls: 'STRICT' }, 'spec.mtls'],
    [{ mtls: { modes: 'STRICT' } }, 'spec.mtls.modes'],
    [{ portLevelMtls: { 80: { mode: 'STRICT' } } }, 'spec.portLevelMtls'],
    [{ ...selector, portLevelMtls: { http: { mode: 'STRICT' } } }, 'spec.portLevelMtls.http'],
    [{ mode: 'STRICT' }, 'spec.mode'],
  ])('%j is refused', (spec, path) => {
    const compile = (): unknown => AuthzEngine.compile([peer(spec)]);
    expect(compile).toThrow(AuthzCompileError);
    expect(compile).toThrow(expect.objectContaining({ problems: [expect.objectContaining({ path })] }));
  });
});
