import { createHistogram } from "node:perf_hooks";

/** Latencies in milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What the time since the last look brought. */
export interface Interval extends Percentiles {
  readonly opsPerSecond: number;
  readonly errors: number;
}

/** What a whole measurement brought. */
export interface Summary extends Percentiles {
  /** Operations a second that succeeded within the measured time. */
  readonly opsPerSecond: number;
  readonly succeeded: number;
  /** Reads that found nothing; they are among the succeeded. */
  readonly misses: number;
  readonly errors: number;
  /** By name: how many, and what the first one said. */
  readonly errorKinds: ReadonlyMap<string, ErrorCount>;
}

export interface ErrorCount {
  readonly count: number;
  readonly example: string;
}

const NS_PER_MS = 1e6;
const LATENCY_NS_MAX = 3600 * 1e9;

/**
 * Counts and times what happens from `begin` on. A latency costs one histogram record (three significant figures);
 * the histogram of the running interval is added to the whole at each look.
 */
export class Recorder {
  readonly #total = newHistogram();
  readonly #current = newHistogram();
  readonly #errors = new Map<string, { count: number; example: string }>();
  #beginMs = Number.POSITIVE_INFINITY;
  #endMs = Number.POSITIVE_INFINITY;
  #intervalBeginMs = 0;
  #errorCount = 0;
  #errorsBeforeInterval = 0;
  #succeeded = 0;
  #inTime = 0;
  #misses = 0;

  /** Starts the measured time: whatever came before (the warm-up) is not in the figures. */
  begin(nowMs: number): void {
    this.#beginMs = nowMs;
    this.#intervalBeginMs = nowMs;
  }

  /**
   * Ends the measured time. Operations that were started before and are answered after it still count with their
   * latency (the slowest must not be left out), but not in the rate.
   */
  end(nowMs: number): void {
    this.#endMs = nowMs;
  }

  succeeded(startMs: number, found: boolean, nowMs: number): void {
    if (nowMs < this.#beginMs) return;
    const ns = Math.round((nowMs - startMs) * NS_PER_MS);
    this.#current.record(Math.min(Math.max(ns, 1), LATENCY_NS_MAX));
    this.#succeeded++;
    if (nowMs <= this.#endMs) this.#inTime++;
    if (!found) this.#misses++;
  }

  /** `count`: so many operations failed in the same way. */
  failed(error: string, message: string, nowMs: number, count = 1): void {
    if (nowMs < this.#beginMs) return;
    this.#errorCount += count;
    const known = this.#errors.get(error);
    if (known === undefined) this.#errors.set(error, { count, example: message });
    else known.count += count;
  }

  /** Figures since the last look; the next interval begins now. */
  look(nowMs: number): Interval {
    const current = this.#current;
    const seconds = Math.max(1e-9, (nowMs - this.#intervalBeginMs) / 1000);
    const interval = {
      ...percentiles(current),
      opsPerSecond: current.count / seconds,
      errors: this.#errorCount - this.#errorsBeforeInterval,
    };
    this.#absorb();
    this.#intervalBeginMs = nowMs;
    this.#errorsBeforeInterval = this.#errorCount;
    return interval;
  }

  /** Figures of the whole; `end` has been called. */
  summary(): Summary {
    this.#absorb();
    const seconds = Math.max(1e-9, (this.#endMs - this.#beginMs) / 1000);
    return {
      ...percentiles(this.#total),
      opsPerSecond: this.#inTime / seconds,
      succeeded: this.#succeeded,
      misses: this.#misses,
      errors: this.#errorCount,
      errorKinds: this.#errors,
    };
  }

  #absorb(): void {
    if (this.#current.count === 0) return;
    this.#total.add(this.#current);
    this.#current.reset();
  }
}

function newHistogram() {
  return createHistogram({ lowest: 1, highest: LATENCY_NS_MAX, figures: 3 });
}

function percentiles(histogram: ReturnType<typeof newHistogram>): Percentiles {
  if (histogram.count === 0) return { p50: 0, p99: 0, p999: 0, max: 0 };
  const at = (percent: number): number => histogram.percentile(percent) / NS_PER_MS;
  return { p50: at(50), p99: at(99), p999: at(99.9), max: histogram.max / NS_PER_MS };
}
