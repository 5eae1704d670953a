/** OpenSSL's and curl's own TLS at the other end: s_client, s_server and curl, both ways. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import * as https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  MtlsAgent,
  authorizeId,
  connectMtls,
  createMtlsHttp2Server,
  createMtlsHttpsServer,
  createMtlsServer,
  mtlsPeer,
} from '../../../src/spiffe/index.js';
import { freePort } from '../../support/free-port.js';
import { describeRequiring } from '../../support/requirements.js';
import { codeOfAsync } from '../code-of.js';
import { TestCa } from '../fakes.js';
import { clientId, end, listening, serverId, until } from './support.js';

const ca = TestCa.create({ intermediate: true });

/** The identity as files, for programs that read files. */
function filesOf(from: TestCa, id: string) {
  const folder = mkdtempSync(join(tmpdir(), 'meshwright-mtls-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const svid = from.svid(id);
  const paths = { chain: join(folder, 'chain.pem'), key: join(folder, 'key.pem'), root: join(folder, 'root.pem') };
  writeFileSync(paths.chain, svid.chainPem);
  writeFileSync(paths.key, svid.privateKeyPem, { mode: 0o600 });
  writeFileSync(paths.root, ca.rootPem);
  return paths;
}

/** A program that is gone when the test ends; what it prints is collected. */
function run(command: string, args: readonly string[]) {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const output = { text: '' };
  child.stdout?.setEncoding('utf8').on('data', (part: string) => (output.text += part));
  child.stderr?.setEncoding('utf8').on('data', (part: string) => (output.text += part));
  child.stdin?.on('error', () => undefined);
  const ended = once(child, 'close') as Promise<[number | null]>;
  return { child, output, ended };
}

const hello = (socket: Parameters<Parameters<typeof createMtlsServer>[1]>[0]): void =>
  void socket.on('error', () => undefined).write(`hello ${mtlsPeer(socket)?.spiffeId.toString() ?? 'nobody'}\n`);

describeRequiring({ commands: ['openssl'] }, 'openssl s_client', () => {
  const client = (port: number, files: ReturnType<typeof filesOf>, ...more: readonly string[]) =>
    run('openssl', ['s_client', '-connect', `127.0.0.1:${String(port)}`, '-CAfile', files.root, ...more]);

  test('with an SVID is served, over TLS 1.3, and takes our chain for good', async () => {
    const port = await listening(createMtlsServer(end(ca, serverId).options, hello));
    const files = filesOf(ca, clientId);
    const args = ['-cert', files.chain, '-cert_chain', files.chain, '-key', files.key, '-verify_return_error'];
    const { output } = client(port, files, ...args);
    await until(() => output.text.includes(`hello ${clientId}`), 'the greeting');
    expect(output.text).toContain('TLSv1.3');
    expect(output.text).toContain('Verify return code: 0 (ok)');
    expect(output.text).not.toContain('New Session Ticket arrived');
  });

  test.each(['none', 'of another CA', 'over TLS 1.2'])(
    'with a certificate that will not do (%s) gets nothing',
    async (what) => {
      const server = end(ca, serverId);
      const port = await listening(createMtlsServer(server.options, hello));
      const files = filesOf(what === 'of another CA' ? TestCa.create() : ca, clientId);
      const identity = what === 'none' ? [] : ['-cert', files.chain, '-key', files.key];
      const { child, output, ended } = client(
        port,
        files,
        ...identity,
        ...(what === 'over TLS 1.2' ? ['-tls1_2'] : []),
      );
      child.stdin?.write('application data\n');
      await ended;
      expect(output.text).not.toContain('hello');
      if (what !== 'over TLS 1.2') expect(server.events.map((event) => event.type)).toEqual(['mtls-peer-refused']);
    },
  );
});

describeRequiring({ commands: ['openssl'] }, 'openssl s_server', () => {
  async function serve(files: ReturnType<typeof filesOf>, ...more: readonly string[]): Promise<number> {
    const port = await freePort();
    const identity = ['-cert', files.chain, '-cert_chain', files.chain, '-key', files.key, '-CAfile', files.root];
    const { output } = run('openssl', [
      's_server',
      '-accept',
      `127.0.0.1:${String(port)}`,
      ...identity,
      '-Verify',
      '4',
      '-verify_return_error',
      ...more,
    ]);
    await until(() => output.text.includes('ACCEPT'), 's_server to listen');
    return port;
  }

  test('verifies us, and is verified', async () => {
    const port = await serve(filesOf(ca, serverId), '-www');
    const agent = new MtlsAgent({ ...end(ca, clientId).options, authorizePeer: authorizeId(serverId) });
    onTestFinished(() => agent.destroy());
    const page = await new Promise<string>((resolve, reject) => {
      https
        .get({ agent, host: '127.0.0.1', port }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (part: string) => (text += part));
          response.on('end', () => resolve(text)).on('error', () => resolve(text));
        })
        .on('error', reject);
    });
    expect(page).toContain('TLSv1.3');
    expect(page).toContain('Client certificate');
  });

  test('of another CA, with another identity, or of TLS 1.2 is refused', async () => {
    const { options } = end(ca, clientId, { authorizePeer: authorizeId(serverId) });
    const code = async (files: ReturnType<typeof filesOf>, ...more: readonly string[]) => {
      const port = await serve(files, ...more);
      return codeOfAsync(() => connectMtls(options, { host: '127.0.0.1', port }));
    };
    expect(await code(filesOf(TestCa.create(), serverId))).toBe('SPIFFE_X509_SIGNATURE');
    expect(await code(filesOf(ca, clientId))).toBe('SPIFFE_MTLS_NOT_AUTHORIZED');
    expect(await code(filesOf(ca, serverId), '-tls1_2')).toBe('SPIFFE_MTLS_FAILED');
  });
});

describeRequiring({ commands: ['curl'] }, 'curl --cert', () => {
  const curl = async (port: number, ...args: readonly string[]) => {
    const { output, ended } = run('curl', [
      '--silent',
      '--show-error',
      '--max-time',
      '8',
      ...args,
      `https://127.0.0.1:${String(port)}/`,
    ]);
    const [status] = await ended;
    return { status, text: output.text };
  };
  // curl knows servers by name, and an X.509-SVID has none: it is told not to look.
  const identity = (files: ReturnType<typeof filesOf>) => ['--insecure', '--cert', files.chain, '--key', files.key];

  test.each([
    ['HTTP/1.1', '--http1.1', createMtlsHttpsServer],
    ['HTTP/2', '--http2', createMtlsHttp2Server],
  ] as const)('is served over %s when it has an SVID, and otherwise not', async (_what, version, create) => {
    const server = end(ca, serverId);
    const answer = (request: { socket: object }, response: { end: (text: string) => unknown }): void =>
      void response.end(`hello ${mtlsPeer(request.socket)?.spiffeId.toString() ?? 'nobody'}`);
    const port = await listening(create(server.options, answer));
    expect(await curl(port, version, ...identity(filesOf(ca, clientId)))).toEqual({
      status: 0,
      text: `hello ${clientId}`,
    });
    const stranger = await curl(port, version, ...identity(filesOf(TestCa.create(), clientId)));
    expect(stranger.status).not.toBe(0);
    expect(stranger.text).not.toContain('hello');
    const nobody = await curl(port, version, '--insecure');
    expect(nobody.status).not.toBe(0);
    expect(nobody.text).not.toContain('hello');
    expect(server.events.filter((event) => event.type === 'mtls-peer-refused')).toHaveLength(2);
  });
});
