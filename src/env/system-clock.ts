import type { Clock, Timer } from "./env.ts";

/** The machine's own clocks, and the event loop's timers. */
export function systemClock(): Clock {
  return new SystemClock();
}

class SystemClock implements Clock {
  #endOfTurn: (() => void)[] = [];
  #scheduled = false;

  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  timer(delayMs: number, callback: () => void): Timer {
    const handle = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(handle) };
  }

  /** Immediates run after the sockets that were ready have been served: one of them drains the whole queue. */
  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#drain);
  }

  readonly #drain = (): void => {
    let done = 0;
    try {
      // The length is asked for again each time: callbacks may add to the queue.
      while (done < this.#endOfTurn.length) this.#endOfTurn[done++]!();
    } finally {
      if (done === this.#endOfTurn.length) {
        this.#endOfTurn.length = 0;
        this.#scheduled = false;
      } else {
        // A callback threw: those behind it still get their turn.
        this.#endOfTurn.splice(0, done);
        setImmediate(this.#drain);
      }
    }
  };
}
