import { describe, expect, it } from 'vitest';
import type { LogFields, Logger } from '../../src/core/index.js';
import type { MeshEvent } from '../../src/mesh/index.js';
import { accessLog } from '../../src/telemetry/index.js';

function recorder(): { logger: Logger; lines: (readonly [string, string, LogFields])[] } {
  const lines: (readonly [string, string, LogFields])[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push([level, message, fields]);
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return { logger, lines };
}

const connection = {
  id: 'c1',
  traceId: 't1',
  principal: 'spiffe://cluster.local/ns/frontend/sa/web',
  node: 'spiffe://cluster.local/agent/node-a',
  via: 'token',
  destination: '10.0.0.1:80',
  services: ['production/backend-api'],
} as const;
const request = (allowed: boolean, more: object = {}): MeshEvent => ({
  type: 'request',
  connection,
  protocol: 'http1',
  method: 'GET',
  path: '/api',
  status: allowed ? 200 : 403,
  durationMs: 1.2345,
  decision: allowed
    ? { allowed: true, action: 'allow', policy: 'production/allow', rule: 0, reason: 'matched' }
    : { allowed: false, action: 'deny', reason: 'no rule matched' },
  ...more,
});

describe('accessLog', () => {
  it('writes a line per judged request, from the decision that was enforced', () => {
    const { logger, lines } = recorder();
    const observer = accessLog(logger);
    observer(request(true));
    observer(request(false));
    expect(lines.map(([level, message]) => [level, message])).toEqual([
      ['info', 'mesh request'],
      ['warn', 'mesh request'],
    ]);
    expect(lines[0]?.[2]).toMatchObject({
      method: 'GET',
      path: '/api',
      status: 200,
      duration_ms: 1.2,
      allowed: true,
      policy: 'production/allow',
      rule: 0,
      decision: 'matched',
      source_principal: 'spiffe://cluster.local/ns/frontend/sa/web',
      source_node: 'spiffe://cluster.local/agent/node-a',
      trace_id: 't1',
    });
    expect(lines[1]?.[2]).toMatchObject({ allowed: false, decision: 'no rule matched', status: 403 });
  });

  it('leaves connections to the data path, and bounds paths', () => {
    const { logger, lines } = recorder();
    const observer = accessLog(logger);
    observer({ type: 'connection-opened', side: 'inbound', connection });
    observer(request(false, { protocol: 'tcp' }));
    expect(lines).toEqual([]);
    observer(request(true, { path: `/${'x'.repeat(10_000)}` }));
    expect(String(lines[0]?.[2]['path'])).toHaveLength(512);
    observer({ type: 'request-malformed', connection, status: 400, problem: 'Host is repeated' });
    expect(lines[1]).toMatchObject(['warn', 'mesh request malformed', { problem: 'Host is repeated', status: 400 }]);
  });

  it('can leave out what was allowed', () => {
    const { logger, lines } = recorder();
    const observer = accessLog(logger, { requests: 'refused' });
    observer(request(true));
    observer(request(false));
    expect(lines).toHaveLength(1);
  });
});
