import type { Clock, Timer } from "../env/env.ts";

/** Something that must end in time. The links belong to the `Deadlines` it is in. */
export interface Deadlined {
  /** On the monotonic clock. */
  deadlineMs: number;
  earlier: Deadlined | undefined;
  later: Deadlined | undefined;
}

/**
 * All that is going on and has to end, in the order of the deadlines. Requests get the same time each, so a new one
 * goes to the end of the list: adding and removing cost a few assignments, and one timer, set for the earliest, serves
 * all. The timer is not moved when its request ends early, as nearly all do; it then finds nothing due and sets itself anew.
 */
export class Deadlines<T extends Deadlined> {
  readonly #clock: Clock;
  readonly #expired: (item: T) => void;
  #first: Deadlined | undefined;
  #last: Deadlined | undefined;
  #timer: Timer | undefined;

  constructor(clock: Clock, expired: (item: T) => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  add(item: T): void {
    let before = this.#last;
    while (before !== undefined && before.deadlineMs > item.deadlineMs) before = before.earlier;
    const after = before === undefined ? this.#first : before.later;
    item.earlier = before;
    item.later = after;
    if (before === undefined) this.#first = item;
    else before.later = item;
    if (after === undefined) this.#last = item;
    else after.earlier = item;
    if (this.#timer === undefined) this.#setTimer();
  }

  /** `item` must be in the list. */
  remove(item: T): void {
    const { earlier, later } = item;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    item.earlier = undefined;
    item.later = undefined;
  }

  /** Takes the earliest out; `undefined` when there are none. */
  takeFirst(): T | undefined {
    const first = this.#first as T | undefined;
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Stops the timer: nothing expires any more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #setTimer(): void {
    const delayMs = Math.max(1, this.#first!.deadlineMs - this.#clock.nowMs());
    this.#timer = this.#clock.timer(delayMs, () => {
      this.#timer = undefined;
      const nowMs = this.#clock.nowMs();
      while (this.#first !== undefined && this.#first.deadlineMs <= nowMs) {
        this.#expired(this.takeFirst()!);
      }
      if (this.#first !== undefined && this.#timer === undefined) this.#setTimer();
    });
  }
}
