import type { Clock } from "../../src/env/env.ts";
import { Heap } from "../../src/lib/heap.ts";

interface WaitingTimer {
  readonly atMs: number;
  /** The order in which timers were set: of two for one instant the older one goes off first. */
  readonly number: number;
  /** Nothing once it was cancelled. */
  callback: (() => void) | undefined;
}

/** A clock that stands still until it is told to go on; ends of turns come when the event loop has nothing else to do. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Heap<WaitingTimer>((a, b) => a.atMs - b.atMs || a.number - b.number);
  #timersSet = 0;
  #timersRun = 0;
  #ends: (() => void)[] = [];
  #scheduled = false;

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  /** How many timers have gone off so far. */
  get timersRun(): number {
    return this.#timersRun;
  }

  timer(delayMs: number, callback: () => void): { cancel(): void } {
    const timer: WaitingTimer = { atMs: this.#nowMs + delayMs, number: this.#timersSet++, callback };
    this.#timers.add(timer);
    return {
      cancel: () => {
        timer.callback = undefined;
      },
    };
  }

  endOfTurn(callback: () => void): void {
    this.#ends.push(callback);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (let next = this.#ends.shift(); next !== undefined; next = this.#ends.shift()) next();
    });
  }

  /**
   * Lets what is under way happen; where nothing is, time moves on to the next timer. `settled` is called before, when
   * every turn has ended.
   */
  async step(settled?: () => void): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (this.#scheduled) return;
    settled?.();
    this.#runNextTimer(Number.POSITIVE_INFINITY);
  }

  /** Moves time on, whatever is under way, and runs the timers that are due by then. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    while (this.#runNextTimer(untilMs));
    this.#nowMs = untilMs;
  }

  #runNextTimer(untilMs: number): boolean {
    this.#dropCancelled();
    const next = this.#timers.top;
    if (next === undefined || next.atMs > untilMs) return false;
    this.#timers.takeTop();
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    this.#timersRun++;
    next.callback!();
    return true;
  }

  #dropCancelled(): void {
    while (this.#timers.size > 0 && this.#timers.top!.callback === undefined) this.#timers.takeTop();
  }

  /** Steps until `condition` holds. Throws when `limitMs` of virtual time have passed without it. */
  async until(condition: () => boolean, limitMs = 60_000): Promise<void> {
    const deadlineMs = this.#nowMs + limitMs;
    while (!condition()) {
      if (this.#nowMs > deadlineMs)
        throw new Error(`what was waited for did not come in ${limitMs} ms of virtual time`);
      await this.step();
    }
  }
}
