import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import type { LatencyStatus } from "../../protocol/messages.ts";

/** Times of the last while: two histograms of microseconds that take turns. */
export class WindowedLatency {
  #current: RecordableHistogram = createHistogram();
  #previous: RecordableHistogram = createHistogram();
  #both: RecordableHistogram | undefined;

  record(latencyMs: number): void {
    this.#current.record(Math.max(1, Math.round(latencyMs * 1000)));
  }

  /** A new window begins: figures cover it and the one before it. */
  rotate(): void {
    const oldest = this.#previous;
    oldest.reset();
    this.#previous = this.#current;
    this.#current = oldest;
  }

  status(): LatencyStatus | null {
    if (this.#current.count === 0 && this.#previous.count === 0) return null;
    // One is large, and who watches a node asks for it again and again.
    this.#both ??= createHistogram();
    const both = this.#both;
    both.reset();
    both.add(this.#previous);
    both.add(this.#current);
    return { p50: both.percentile(50) / 1000, p99: both.percentile(99) / 1000, max: both.max / 1000 };
  }
}
