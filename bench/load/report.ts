import type { LoadOptions } from "./options.ts";
import type { Interval, Summary } from "./recorder.ts";

/** The last line of stdout with `--json`. `redirects`: while it was measured. Times are rounded to microseconds, the rate to whole operations. */
export function jsonLine(options: LoadOptions, summary: Summary, redirects: number): string {
  return JSON.stringify({
    workload: options.workload,
    protocol: options.protocol,
    clients: options.clients,
    ops_s: Math.round(summary.opsPerSecond),
    p50_ms: thousandths(summary.p50),
    p99_ms: thousandths(summary.p99),
    p999_ms: thousandths(summary.p999),
    errors: summary.errors,
    redirects,
  });
}

/** `redirects` in percent of the requests that were answered. */
function share(redirects: number, { succeeded, errors }: Summary): string {
  return `${((redirects * 100) / Math.max(1, succeeded + errors)).toFixed(3)}%`;
}

/** The figures of a run for people, several lines. */
export function textReport(options: LoadOptions, summary: Summary, redirects: number): string {
  const loop =
    options.rate === undefined ? "closed loop" : `open loop, ${grouped(options.rate)} due a second`;
  const lines = [
    `workload ${options.workload} over ${options.protocol}, ${options.clients} clients, ${loop}`,
    `  ${grouped(summary.opsPerSecond)} ops/s, ${grouped(summary.succeeded)} operations in ${options.seconds} s`,
    `  p50 ${ms(summary.p50)}  p99 ${ms(summary.p99)}  p99.9 ${ms(summary.p999)}  max ${ms(summary.max)}`,
  ];
  if (summary.misses > 0) lines.push(`  ${grouped(summary.misses)} reads found nothing`);
  if (options.protocol === "binary") {
    lines.push(
      `  ${grouped(redirects)} requests (${share(redirects, summary)}) were redirected to another node`,
    );
  }
  lines.push(`  ${grouped(summary.errors)} errors`);
  for (const [name, { count, example }] of summary.errorKinds) {
    lines.push(`    ${name}: ${grouped(count)}, the first: ${example}`);
  }
  return lines.join("\n");
}

/** One line about the last second, `elapsedSeconds` after the beginning. */
export function progressLine(elapsedSeconds: number, interval: Interval): string {
  const rate = `${grouped(interval.opsPerSecond)} ops/s`.padStart(15);
  const errors = interval.errors > 0 ? `  ${grouped(interval.errors)} errors` : "";
  return `${elapsedSeconds.toFixed(0).padStart(4)} s ${rate}  p50 ${ms(interval.p50)}  p99 ${ms(interval.p99)}${errors}`;
}

function ms(value: number): string {
  return `${value.toFixed(3)} ms`;
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
