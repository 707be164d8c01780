/**
 * Counters, gauges and histograms, and the text format of Prometheus (version 0.0.4) for them.
 *
 * Values of labels come from fixed sets, never from ids: every combination is kept for ever.
 * @module
 */

/** Values of labels by name. */
export type Labels = Record<string, string>;

/** One measured value of a gauge. */
export interface Sample {
  /** Labels; none by default. */
  labels?: Labels;
  /** The value. */
  value: number;
}

/** Something that has a section in the text. */
interface Metric {
  readonly type: "counter" | "gauge" | "histogram";
  lines(name: string): string[] | Promise<string[]>;
}

/** The content type of {@link Registry.text}. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** All metrics of one server. */
export class Registry {
  readonly #metrics = new Map<string, { help: string; metric: Metric }>();

  /**
   * A count that only grows.
   * @param name Its name, which ends in `_total`.
   * @param help What it counts.
   * @param labels Names of its labels.
   */
  counter(name: string, help: string, ...labels: string[]): Counter {
    return this.#add(name, help, new Counter(labels));
  }

  /**
   * A value that is measured when somebody asks.
   * @param name Its name.
   * @param help What it is, with the unit.
   * @param measure Measures it.
   */
  gauge(name: string, help: string, measure: () => Sample[] | Promise<Sample[]>): void {
    this.#add(name, help, new Gauge(measure));
  }

  /**
   * How values are distributed.
   * @param name Its name.
   * @param help What it is, with the unit.
   * @param bounds Upper bounds of its buckets, ascending.
   */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(name, help, new Histogram(bounds));
  }

  /** Everything as text. */
  async text(): Promise<string> {
    const sections = [...this.#metrics].map(async ([name, { help, metric }]) =>
      [
        `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`,
        `# TYPE ${name} ${metric.type}`,
        ...await metric.lines(name),
      ].join("\n")
    );
    return (await Promise.all(sections)).join("\n") + "\n";
  }

  #add<T extends Metric>(name: string, help: string, metric: T): T {
    this.#metrics.set(name, { help, metric });
    return metric;
  }
}

/** See {@link Registry.counter}. */
export class Counter implements Metric {
  readonly type = "counter";
  readonly #labels: readonly string[];
  readonly #counts = new Map<string, { labels: Labels; count: number }>();

  /** Use {@link Registry.counter}. */
  constructor(labels: readonly string[]) {
    this.#labels = labels;
    // Without labels there is one series, which begins with 0.
    if (labels.length === 0) this.add(0);
  }

  /** Counts so many more, under the values of the labels in their order. */
  add(count: number, ...values: string[]): void {
    const key = values.join("\n");
    const series = this.#counts.get(key);
    if (series !== undefined) series.count += count;
    else {
      const labels = Object.fromEntries(this.#labels.map((label, at) => [label, values[at]]));
      this.#counts.set(key, { labels, count });
    }
  }

  /** Its lines in the text. */
  lines(name: string): string[] {
    return [...this.#counts.values()].map(({ labels, count }) => line(name, labels, count));
  }
}

class Gauge implements Metric {
  readonly type = "gauge";

  constructor(private readonly measure: () => Sample[] | Promise<Sample[]>) {}

  async lines(name: string): Promise<string[]> {
    return (await this.measure()).map(({ labels = {}, value }) => line(name, labels, value));
  }
}

/** See {@link Registry.histogram}. */
export class Histogram implements Metric {
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** Use {@link Registry.histogram}. */
  constructor(bounds: readonly number[]) {
    this.#bounds = [...bounds, Infinity];
    this.#counts = this.#bounds.map(() => 0);
  }

  /** Counts one value. */
  observe(value: number): void {
    this.#counts[this.#bounds.findIndex((bound) => value <= bound)]++;
    this.#sum += value;
  }

  /** Its lines in the text. */
  lines(name: string): string[] {
    let count = 0;
    const buckets = this.#bounds.map((bound, at) => {
      count += this.#counts[at];
      return line(`${name}_bucket`, { le: numberText(bound) }, count);
    });
    return [...buckets, line(`${name}_sum`, {}, this.#sum), line(`${name}_count`, {}, count)];
  }
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${numberText(value)}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  return value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value);
}
