import { describe, expect, it } from 'vitest';
import { AuthzEngine } from '../../src/authz/index.js';
import { authzMatchers } from '../../src/testing/authz-matchers.js';
import type { AuthzMatchers } from '../../src/testing/authz-matchers.js';

declare module 'vitest' {
  interface Matchers<T> extends AuthzMatchers<T> {}
}

expect.extend(authzMatchers);

const engine = AuthzEngine.compile([
  {
    apiVersion: 'novaedge.io/v1alpha1',
    kind: 'ProxyPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: {
      type: 'MeshAuthorization',
      targetRef: { kind: 'Service', name: 'web' },
      action: 'ALLOW',
      rules: [{ to: [{ methods: ['GET'] }] }],
    },
  },
]);
const get = {
  source: {},
  destination: { namespace: 'shop', services: ['shop/web'] },
  http: { method: 'GET', path: '/' },
};
const post = { ...get, http: { method: 'POST', path: '/' } };

describe('authzMatchers', () => {
  it('toAllow and toDeny pass and fail with the explanation', () => {
    expect(engine).toAllow(get);
    expect(engine).toAllow(get, { by: 'shop/p' });
    expect(engine).toAllow(get, { by: 'shop/p/0' });
    expect(engine).toDeny(post);
    expect(engine).not.toAllow(post);
    expect(() => expect(engine).toAllow(post)).toThrow(/spec\.rules\[0\]\.to\[0\]\.methods wants GET, got POST/);
    expect(() => expect(engine).toAllow(get, { by: 'shop/q' })).toThrow(/by shop\/q, got allow by shop\/p\/0/);
    expect(() => expect(engine).not.toAllow(get)).toThrow(/not to allow/);
  });
});
