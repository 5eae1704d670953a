import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { meshMetrics, metricsServer } from '../../src/telemetry/index.js';

const run = promisify(execFile);
const curl = async (...args: string[]): Promise<string> =>
  (await run('curl', ['-sS', '-i', '--noproxy', '*', '--max-time', '5', ...args])).stdout;

function raw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}

describe('metricsServer', () => {
  it('serves metrics and health to curl, on loopback by default', async () => {
    const { registry, observers } = meshMetrics();
    observers.tproxy({ type: 'tproxy.connection-refused', reason: 'limit' });
    let health: boolean | string = true;
    await using server = await metricsServer({ port: 0, registry, health: () => health });
    expect(server.address.ip).toBe('127.0.0.1');
    const base = `http://127.0.0.1:${String(server.address.port)}`;
    const metrics = await curl(`${base}/metrics`);
    expect(metrics).toMatch(/^HTTP\/1\.1 200 /);
    expect(metrics).toMatch(/content-type: text\/plain; version=0\.0\.4/i);
    expect(metrics).toContain('novaedge_mesh_captured_connections_total{result="limit"} 1');
    expect(await curl(`${base}/healthz`)).toMatch(/^HTTP\/1\.1 200 .*ok\n$/s);
    health = 'no snapshot yet';
    expect(await curl(`${base}/healthz`)).toMatch(/^HTTP\/1\.1 503 .*no snapshot yet\n$/s);
    expect(await curl('-I', `${base}/metrics`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await curl(`${base}/`)).toMatch(/^HTTP\/1\.1 404 /);
    expect(await curl(`${base}/metrics/../etc`)).toMatch(/^HTTP\/1\.1 404 /);
    expect(await curl('-X', 'POST', '-d', 'x', `${base}/metrics`)).toMatch(/^HTTP\/1\.1 405 .*allow: GET, HEAD/is);
  });

  it('answers 500 when collecting fails, and goes on', async () => {
    let broken = true;
    const registry = {
      contentType: 'text/plain',
      metrics: () => (broken ? Promise.reject(new Error('x')) : Promise.resolve('fine\n')),
    };
    await using server = await metricsServer({ port: 0, registry });
    const url = `http://127.0.0.1:${String(server.address.port)}/metrics`;
    expect(await curl(url)).toMatch(/^HTTP\/1\.1 500 /);
    broken = false;
    expect(await curl(url)).toMatch(/fine\n$/);
  });

  it('refuses garbage, oversized headers and floods of connections, and goes on', async () => {
    const { registry } = meshMetrics();
    await using server = await metricsServer({ port: 0, registry });
    const { port } = server.address;
    expect(await raw(port, Buffer.alloc(65_536, 0x78))).toMatch(/^HTTP\/1\.1 (400|431) /);
    expect(await raw(port, `GET /metrics HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
    const flood = Array.from({ length: 100 }, () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      return socket;
    });
    await expect.poll(() => flood.filter((socket) => !socket.destroyed).length).toBeLessThanOrEqual(32);
    for (const socket of flood) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await curl(`http://127.0.0.1:${String(port)}/healthz`)).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('cuts half a request that goes silent', async () => {
    const { registry } = meshMetrics();
    await using server = await metricsServer({ port: 0, registry });
    expect(await raw(server.address.port, 'GET /metrics HTTP/1.1\r\nHo')).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('says what is wrong when it cannot listen, and closes twice alike', async () => {
    const { registry } = meshMetrics();
    const server = await metricsServer({ port: 0, registry });
    await expect(metricsServer({ port: server.address.port, registry })).rejects.toMatchObject({
      code: 'TELEMETRY_LISTEN_FAILED',
    });
    await Promise.all([server.close(), server.close()]);
    server.destroy();
  });
});
