import type { NetNamespace } from 'meshwright/testing';

export interface CurlResult {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly body: string;
  /** curl's exit status: 0 is an answer, 7 refused, 28 time-out, 52 and 56 closed or reset. */
  readonly exit: number;
  readonly timeMs: number;
}

/** Runs the ordinary `curl` in a namespace. */
export async function curl(
  space: NetNamespace,
  url: string,
  options: { readonly method?: string; readonly args?: readonly string[]; readonly timeoutS?: number } = {},
): Promise<CurlResult> {
  const result = await space.exec(
    'curl',
    [
      '--silent',
      '--max-time',
      String(options.timeoutS ?? 5),
      '--request',
      options.method ?? 'GET',
      '--write-out',
      '\n%{http_code} %{time_total}',
      ...(options.args ?? []),
      url,
    ],
    { allowFailure: true },
  );
  const cut = result.stdout.lastIndexOf('\n');
  const [status = '0', seconds = '0'] = result.stdout.slice(cut + 1).split(' ');
  return {
    status: Number(status),
    body: result.stdout.slice(0, Math.max(0, cut)),
    exit: result.status ?? -1,
    timeMs: Math.round(Number(seconds) * 1000),
  };
}

/** A status, or how the connection ended, as one word for the table. */
export function outcome(result: CurlResult): string {
  if (result.status !== 0) return String(result.status);
  if (result.exit === 7) return 'refused';
  if (result.exit === 28) return 'time-out';
  return 'reset';
}
