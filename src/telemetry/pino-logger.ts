import { destination, pino } from 'pino';
import type { Logger as Pino } from 'pino';
import { systemClock } from '../core/index.js';
import type { Clock, LogFields, Logger } from '../core/index.js';
import { TelemetryError } from './errors.js';
import { redact, redactText } from './redact.js';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface PinoLoggerOptions {
  /** Lines below it are dropped. Default `info`. */
  readonly level?: LogLevel | undefined;
  /** Where lines go, each with its newline. Default: standard output, written before the call returns. */
  readonly destination?: { write(line: string): void } | undefined;
  /** Fields of every line, such as the node's name. */
  readonly fields?: LogFields | undefined;
  readonly clock?: Clock | undefined;
}

const levels: readonly string[] = ['debug', 'info', 'warn', 'error', 'silent'];
/** A field of such a name would write a second `msg` or `level` into the line, and readers take the last. */
const reserved = new Set(['level', 'time', 'msg']);

/**
 * A logger that writes one JSON object per line: `level` as a word, `time` in ISO 8601, the fields, `msg`.
 *
 * Fields whose names say that they hold a token, key or password are replaced by `[redacted]`, at any depth, and so are
 * JWTs and private keys inside any text; bytes become their length. Values are bounded (8 KiB of text, 200 entries, 6
 * levels). Fields called `level`, `time` or `msg` get a trailing underscore. Not guaranteed: that a secret in a field of
 * a harmless name and no known form is found.
 *
 * Throws `TELEMETRY_OPTION_INVALID` for an unknown level.
 *
 * @example
 * const logger = pinoLogger({ level: 'info', fields: { node: 'node-a' } });
 * logger.info('mesh certificate issued', { key_type: 'ECDSA P-256' });
 * // {"level":"info","time":"2030-01-01T00:00:00.000Z","node":"node-a","key_type":"ECDSA P-256","msg":"mesh certificate issued"}
 */
export function pinoLogger(options: PinoLoggerOptions = {}): Logger {
  const { level = 'info', clock = systemClock } = options;
  if (!levels.includes(level)) {
    throw new TelemetryError('TELEMETRY_OPTION_INVALID', `level must be one of ${levels.join(', ')}, got ${level}`);
  }
  const logger = pino(
    {
      level,
      base: cleanFields(options.fields) ?? null,
      messageKey: 'msg',
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
    },
    // Synchronous: a line that was logged is out, also when the process is killed next.
    options.destination ?? destination({ dest: 1, sync: true }),
  );
  return adapt(logger);
}

function adapt(logger: Pino): Logger {
  const log = (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: LogFields): void => {
    // Nothing is copied for a line that is not written.
    if (!logger.isLevelEnabled(level)) return;
    logger[level](cleanFields(fields) ?? {}, redactText(message));
  };
  return Object.freeze({
    debug: (message: string, fields?: LogFields) => log('debug', message, fields),
    info: (message: string, fields?: LogFields) => log('info', message, fields),
    warn: (message: string, fields?: LogFields) => log('warn', message, fields),
    error: (message: string, fields?: LogFields) => log('error', message, fields),
    child: (fields: LogFields) => adapt(logger.child(cleanFields(fields) ?? {})),
  });
}

function cleanFields(fields: LogFields | undefined): Record<string, unknown> | undefined {
  if (fields === undefined) return undefined;
  const clean = redact({ ...fields }) as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(clean).map(([name, value]) => [reserved.has(name) ? `${name}_` : name, value]),
  );
}
