import Table from "cli-table3";
import type { EngineName, Figure, Op } from "./lines.ts";

/**
 * The figures of one line on one engine, a round each, as one: the median of each of them. Operations a second follow
 * from the median time, so that the two still say the same.
 */
export function medianFigure(rounds: readonly Figure[]): Figure {
  const merged: Record<string, unknown> = { ...rounds[0]! };
  for (const [name, value] of Object.entries(merged)) {
    if (typeof value !== "number") continue;
    const all = rounds.map((round) => (round as unknown as Record<string, number>)[name]!);
    merged[name] = Math.round(median(all) * 1000) / 1000;
  }
  merged.ops_s = Math.round(1e6 / (merged.us_op as number));
  return merged as unknown as Figure;
}

/** The middle one of an odd number of values, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The figures of a run, by engine and line, a round each. */
export type Rounds = ReadonlyMap<Op, ReadonlyMap<EngineName, readonly Figure[]>>;

/**
 * How many times as many operations a second Flotilla did: the median of the rounds' ratios, since what disturbs a round
 * disturbs both of its sides.
 */
export function ratio(rounds: Rounds, op: Op, other: EngineName): number | undefined {
  const ours = rounds.get(op)?.get("flotilla");
  const theirs = rounds.get(op)?.get(other);
  if (ours === undefined || theirs === undefined) return undefined;
  return median(ours.map((figure, round) => figure.ops_s / theirs[round]!.ops_s));
}

/** Two tables: how fast, with ratios, and what else was measured while writing. */
export function textReport(rounds: Rounds): string {
  const engines = [...new Set([...rounds.values()].flatMap((line) => [...line.keys()]))];
  const others = engines.includes("flotilla") ? engines.filter((engine) => engine !== "flotilla") : [];
  const speeds = table(
    ["line", ...engines.map((engine) => `${engine}, us/op`), ...others.map((other) => `ratio to ${other}`)],
    [...rounds].map(([op, line]) => [
      op,
      ...engines.map((engine) => told(line.get(engine), ({ us_op }) => us_op.toFixed(us_op < 10 ? 2 : 1))),
      ...others.map((other) => ratio(rounds, op, other)?.toFixed(2) ?? "-"),
    ]),
  );
  const rest = table(
    [
      "line",
      "engine",
      "call",
      "CPU us/op",
      "of all threads",
      "loop late, p99 ms",
      "computing",
      "max ms",
      "write amp.",
      "space amp.",
      "went on, ms",
      "memory peak, MiB",
    ],
    [...rounds].flatMap(([op, line]) =>
      [...line]
        .filter(hasMore)
        .map(([engine, figures]) => [
          op,
          engine,
          told(figures, ({ api }) => api),
          told(figures, ({ thread_cpu_us_op }) => thread_cpu_us_op?.toFixed(2)),
          told(figures, ({ process_cpu_us_op }) => process_cpu_us_op?.toFixed(2)),
          told(figures, ({ loop_p99_ms }) => loop_p99_ms?.toFixed(2)),
          told(figures, ({ loop_cpu_p99_ms }) => loop_cpu_p99_ms?.toFixed(2)),
          told(figures, ({ loop_max_ms }) => loop_max_ms?.toFixed(1)),
          told(figures, ({ write_amp }) => write_amp?.toFixed(2)),
          told(figures, ({ space_amp }) => space_amp?.toFixed(2)),
          told(figures, ({ settle_ms }) => settle_ms?.toFixed(0)),
          told(figures, ({ rss_peak_bytes }) =>
            rss_peak_bytes === undefined ? undefined : (rss_peak_bytes / 1024 / 1024).toFixed(0),
          ),
        ]),
    ),
  );
  return `${speeds}\nA ratio is Flotilla's operations a second by the other's: above 1 Flotilla is the faster.\n\n${rest}`;
}

/** Of RocksDB's program no more is known than its speed. */
function hasMore([engine]: readonly [EngineName, readonly Figure[]]): boolean {
  return engine !== "rocksdb";
}

function told(figures: readonly Figure[] | undefined, pick: (figure: Figure) => string | undefined): string {
  return (figures === undefined ? undefined : pick(medianFigure(figures))) ?? "-";
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const texts = new Table({
    head: [...head],
    style: { head: [], border: [], compact: true },
    colAligns: head.map((name) => (/^(line|engine|call)$/.test(name) ? "left" : "right")),
  });
  for (const row of rows) texts.push([...row]);
  return texts.toString();
}
