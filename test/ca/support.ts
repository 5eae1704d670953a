import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { isMeshwrightError } from 'meshwright/core';
import type { LogFields, Logger } from 'meshwright/core';

export const agent = 'spiffe://cluster.local/agent/node-a';
export const workload = 'spiffe://cluster.local/ns/shop/sa/web';

/** A directory of the test's own, gone when it ends. */
export function testDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'meshwright-ca-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function p256(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** The code of what `run` throws or rejects with; fails the test when it does not. */
export async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (isMeshwrightError(error)) return error.code;
    throw error;
  }
  throw new Error('expected an error, got none');
}

/** Runs openssl with `files` written to a directory of its own; arguments name them by `{name}`. */
export function openssl(files: Readonly<Record<string, string | Uint8Array>>, ...args: readonly string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'meshwright-openssl-'));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
    const named = args.map((arg) => arg.replace(/\{([^}]+)\}/g, (_, name: string) => join(directory, name)));
    return execFileSync('openssl', named, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that remembers. */
export function recordingLogger(): { readonly logger: Logger; readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at =
    (level: LogLine['level']) =>
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

/** Lets promises, thread-pool work and I/O run until `done`; fails the test after 10 real seconds. */
export async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!done()) {
    if (performance.now() > end) throw new Error(`expected ${done.toString()} within 10 s`);
    await new Promise((resolve) => void setImmediate(resolve));
  }
}
