import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { MetricInfo } from './metric-table.js';

/** The labels a metric of the table must be given. */
type LabelsOf<Info extends MetricInfo> = { readonly [Name in keyof Info['labels'] & string]: string };

export interface CounterOf<Info extends MetricInfo> {
  inc(labels: LabelsOf<Info>, value?: number): void;
}

export interface GaugeOf<Info extends MetricInfo> extends CounterOf<Info> {
  set(labels: LabelsOf<Info>, value: number): void;
  /** Forgets every series. */
  reset(): void;
  /** Called at each scrape for the value; for gauges that move by themselves, and without labels. */
  onCollect(value: () => number | undefined): void;
}

export interface HistogramOf<Info extends MetricInfo> {
  observe(labels: LabelsOf<Info>, value: number): void;
}

type MetricOf<Info extends MetricInfo> = Info['type'] extends 'counter'
  ? CounterOf<Info>
  : Info['type'] extends 'gauge'
    ? GaugeOf<Info>
    : HistogramOf<Info>;

export type MetricsOf<Table extends Readonly<Record<string, MetricInfo>>> = {
  readonly [Key in keyof Table]: MetricOf<Table[Key]>;
};

const durationBucketsSeconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** Makes every metric of `table` in `registry`. Those without labels start at 0, so that a missing series means a missing agent. */
export function buildMetrics<Table extends Readonly<Record<string, MetricInfo>>>(
  table: Table,
  registry: Registry,
): MetricsOf<Table> {
  const entries = Object.entries(table).map(([key, info]) => [key, build(info, registry)] as const);
  return Object.fromEntries(entries) as MetricsOf<Table>;
}

function build(
  info: MetricInfo,
  registry: Registry,
): CounterOf<MetricInfo> | GaugeOf<MetricInfo> | HistogramOf<MetricInfo> {
  const { name, help } = info;
  const labelNames = Object.keys(info.labels);
  const registers = [registry];
  switch (info.type) {
    case 'counter':
      return new Counter({ name, help, labelNames, registers });
    case 'histogram':
      return new Histogram({ name, help, labelNames, registers, buckets: durationBucketsSeconds });
    case 'gauge': {
      let collect: (() => number | undefined) | undefined;
      const gauge = new Gauge({
        name,
        help,
        labelNames,
        registers,
        collect() {
          if (collect === undefined) return;
          const value = collect();
          if (value === undefined) this.remove();
          else this.set(value);
        },
      });
      return {
        inc: (labels, value) => gauge.inc(labels, value),
        set: (labels, value) => gauge.set(labels, value),
        reset: () => gauge.reset(),
        onCollect: (value) => {
          collect = value;
        },
      };
    }
  }
}
