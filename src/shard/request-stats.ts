import type { LatencyStatus } from "../../protocol/messages.ts";
import { WindowedLatency } from "./windowed-latency.ts";

/** How long a window of the latency figures is; figures cover the current window and the one before it. */
const WINDOW_MS = 30_000;

/** Counts what a node answered and how long it took, measured from when a request was taken in to when it was answered. */
export class RequestStats {
  reads = 0;
  writes = 0;
  errors = 0;
  redirected = 0;
  readonly #readLatency = new WindowedLatency();
  readonly #writeLatency = new WindowedLatency();
  #windowStartedMs = 0;
  #secondStartedMs = 0;
  #countAtSecond = 0;
  #perSecond = 0;

  /** Requests a second over the last full second. */
  get perSecond(): number {
    return this.#perSecond;
  }

  read(latencyMs: number): void {
    this.reads++;
    this.#readLatency.record(latencyMs);
  }

  write(latencyMs: number): void {
    this.writes++;
    this.#writeLatency.record(latencyMs);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    const elapsed = nowMs - this.#secondStartedMs;
    if (elapsed >= 1000) {
      const count = this.reads + this.writes;
      this.#perSecond = Math.round(((count - this.#countAtSecond) * 1000) / elapsed);
      this.#countAtSecond = count;
      this.#secondStartedMs = nowMs;
    }
    if (nowMs - this.#windowStartedMs >= WINDOW_MS) {
      this.#readLatency.rotate();
      this.#writeLatency.rotate();
      this.#windowStartedMs = nowMs;
    }
  }

  get readMs(): LatencyStatus | null {
    return this.#readLatency.status();
  }

  get writeMs(): LatencyStatus | null {
    return this.#writeLatency.status();
  }
}
