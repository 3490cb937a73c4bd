import type { Clock } from "../../src/env/env.ts";

/** A clock that stands still until it is told to go on; ends of turns come when the event loop has nothing else to do. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];
  #ends: (() => void)[] = [];
  #scheduled = false;

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  timer(delayMs: number, callback: () => void): { cancel(): void } {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
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

  /** Lets what is under way happen; where nothing is, time moves on to the next timer. */
  async step(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (!this.#scheduled) this.#runNextTimer(Number.POSITIVE_INFINITY);
  }

  /** Moves time on, whatever is under way, and runs the timers that are due by then. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    while (this.#runNextTimer(untilMs));
    this.#nowMs = untilMs;
  }

  #runNextTimer(untilMs: number): boolean {
    if (this.#timers.length === 0) return false;
    const next = this.#timers.reduce((a, b) => (b.atMs < a.atMs ? b : a));
    if (next.atMs > untilMs) return false;
    this.#timers = this.#timers.filter((timer) => timer !== next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
    return true;
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
