import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { LatestValueCell, silentLogger } from '../../src/core/index.js';
import type { LogFields, Logger } from '../../src/core/index.js';
import { SpiffeId, authorizeAgent } from '../../src/spiffe/index.js';
import type { TrustBundle, X509Svid } from '../../src/spiffe/index.js';
import { TestCa } from '../../src/testing/test-ca.js';
import { Http2MtlsTunnel } from '../../src/tunnel/index.js';
import type {
  TunnelClient,
  TunnelClientOptions,
  TunnelEvent,
  TunnelListenOptions,
  TunnelServer,
} from '../../src/tunnel/index.js';

export const agentA = 'spiffe://cluster.local/agent/node-a';
export const agentB = 'spiffe://cluster.local/agent/node-b';

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps its lines. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields });
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return { logger, lines };
}

/** One server (node-b) and one client (node-a) on loopback, with everything they report. */
export class Rig {
  readonly ca: TestCa;
  readonly serverSvid: LatestValueCell<X509Svid>;
  readonly clientSvid: LatestValueCell<X509Svid>;
  readonly bundle: LatestValueCell<TrustBundle>;
  readonly events: TunnelEvent[] = [];
  readonly lines: LogLine[];
  readonly #logger: Logger;
  readonly #stop: { destroy(): void }[] = [];
  server!: TunnelServer;
  client!: TunnelClient;

  constructor(ca = TestCa.create()) {
    this.ca = ca;
    this.serverSvid = new LatestValueCell(ca.svid(agentB));
    this.clientSvid = new LatestValueCell(ca.svid(agentA));
    this.bundle = new LatestValueCell(ca.bundle);
    const recording = recordingLogger();
    this.#logger = recording.logger;
    this.lines = recording.lines;
  }

  static async start(
    server: Partial<TunnelListenOptions> = {},
    client: Partial<TunnelClientOptions> = {},
    ca?: TestCa,
  ): Promise<Rig> {
    const rig = new Rig(ca);
    rig.server = await rig.listen(server);
    rig.client = rig.dialler(client);
    return rig;
  }

  async listen(options: Partial<TunnelListenOptions> = {}): Promise<TunnelServer> {
    const server = await Http2MtlsTunnel.listen({
      host: '127.0.0.1',
      port: 0,
      svid: this.serverSvid,
      bundle: this.bundle,
      authorizePeer: authorizeAgent(),
      onConnect: echo,
      logger: this.#logger,
      observer: (event) => void this.events.push(event),
      ...options,
    });
    this.#stop.push(server);
    return server;
  }

  dialler(options: Partial<TunnelClientOptions> = {}): TunnelClient {
    const client = Http2MtlsTunnel.client({
      svid: this.clientSvid,
      bundle: this.bundle,
      logger: silentLogger,
      observer: (event) => void this.events.push(event),
      ...options,
    });
    this.#stop.push(client);
    return client;
  }

  connect(authority = '10.0.0.7:8080', options: Partial<Parameters<TunnelClient['connect']>[0]> = {}) {
    return this.client.connect({ address: this.server.address, authority, peer: SpiffeId.parse(agentB), ...options });
  }

  /** Reasons of refused handshakes seen by the server, in order. */
  get refusals(): string[] {
    return this.events.flatMap((event) =>
      event.type === 'handshake' && event.side === 'server' && !event.ok ? [String(event.reason)] : [],
    );
  }

  /** The log lines of the server with that code. */
  logged(code: string): LogLine[] {
    return this.lines.filter((line) => line.fields['code'] === code);
  }

  stop(): void {
    for (const part of this.#stop.reverse()) part.destroy();
  }
}

/** Sends back what comes. */
export const echo: TunnelListenOptions['onConnect'] = (request) => {
  const stream = request.accept();
  stream.on('error', () => undefined);
  stream.pipe(stream);
};

/** Everything up to the end; rejects when the stream is cut off. */
export async function readAll(stream: Duplex): Promise<Buffer> {
  // Not `for await`, which destroys the stream when it has ended, and with it the other direction.
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await finished(stream, { writable: false });
  return Buffer.concat(chunks);
}

/** Polls until `condition` holds. */
export async function until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${String(timeoutMs)} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The error a stream is destroyed with. */
export async function errorOf(stream: Duplex): Promise<Error & { code?: string }> {
  if (stream.errored !== null) return stream.errored;
  const [error] = (await once(stream, 'error')) as [Error];
  return error;
}
