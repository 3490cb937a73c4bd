import type { Clock } from "../env/env.ts";

/**
 * Notices that the monotonic clock stood still while time went on, as it does where a machine is suspended: the wall clock
 * has then moved further than it. What it can't tell apart from that is a wall clock that was set forward, which costs one
 * round of confirmations; and what it can't see is a pause that the wall clock did not see either, or that somebody hid by
 * setting the wall clock back in the same moment.
 */
export class PauseWatch {
  readonly #clock: Pick<Clock, "nowMs" | "wallMs">;
  readonly #toleranceMs: number;
  /** The least that the wall clock was ever ahead of the monotonic one since the last pause. */
  #aheadMs: number;
  #pauses = 0;

  /** Pauses of up to `toleranceMs` are not noticed: clocks are read one after the other, and the wall clock may be slewed. */
  constructor(clock: Pick<Clock, "nowMs" | "wallMs">, toleranceMs: number) {
    this.#clock = clock;
    this.#toleranceMs = toleranceMs;
    this.#aheadMs = clock.wallMs() - clock.nowMs();
  }

  /** Looks at the clocks. How many pauses there were so far. */
  look(): number {
    const aheadMs = this.#clock.wallMs() - this.#clock.nowMs();
    if (aheadMs > this.#aheadMs + this.#toleranceMs) {
      this.#pauses++;
      this.#aheadMs = aheadMs;
    } else if (aheadMs < this.#aheadMs) this.#aheadMs = aheadMs;
    return this.#pauses;
  }
}
