import type { Clock } from "../env/env.ts";

/**
 * What time a leader's next entry gets: the wall clock's, in milliseconds since the epoch, but never less than what an entry
 * had before, whoever made it. Where the log is ahead, because the wall clock was set back or another leader's is fast, time
 * does not stand still until the clock is there: keys would live on meanwhile. It goes on at half the pace of the monotonic
 * clock, so the log comes back to the right time, and a time to live takes twice as long at most.
 */
export class EntryClock {
  readonly #clock: Pick<Clock, "nowMs" | "wallMs">;
  /** From where on, and since when by the monotonic clock, time goes at half its pace. */
  #fromMs = 0;
  #seenAtMs = 0;

  constructor(clock: Pick<Clock, "nowMs" | "wallMs">) {
    this.#clock = clock;
  }

  /** `latestMs`: the latest time that an entry has, as far as this node knows. Never goes back. */
  after(latestMs: number): number {
    const wallMs = Math.floor(this.#clock.wallMs());
    if (wallMs >= latestMs) return wallMs;
    const nowMs = this.#clock.nowMs();
    const slowMs = this.#fromMs + Math.floor((nowMs - this.#seenAtMs) / 2);
    if (slowMs >= latestMs) return Math.max(wallMs, slowMs);
    this.#fromMs = latestMs;
    this.#seenAtMs = nowMs;
    return latestMs;
  }
}
