import type { Clock } from "../../env/env.ts";
import { showSize } from "./printable.ts";
import type { Progress } from "./verify.ts";

/** A line is written at most this often, in milliseconds. */
const EVERY_MS = 500;

/** Writes how far long work is, how fast it goes, and how long it still takes; nothing where it is soon done. */
export class ProgressLine implements Progress {
  readonly #clock: Clock;
  readonly #write: (text: string) => void;
  /** What ends a line: a line feed, or what lets the next one overwrite it. */
  readonly #end: string;
  #total = 0;
  #done = 0;
  #startMs = 0;
  #toldMs = 0;
  #isTold = false;

  constructor(clock: Clock, write: (text: string) => void, isTerminal: boolean) {
    this.#clock = clock;
    this.#write = write;
    this.#end = isTerminal ? "\x1b[K\r" : "\n";
  }

  begin(totalBytes: number): void {
    this.#total = totalBytes;
    this.#done = 0;
    this.#startMs = this.#clock.nowMs();
    this.#toldMs = this.#startMs;
  }

  advance(bytes: number): void {
    this.#done += bytes;
    const now = this.#clock.nowMs();
    if (now - this.#toldMs < EVERY_MS) return;
    this.#toldMs = now;
    this.#isTold = true;
    // What is read twice is counted twice; the total is what the files have.
    const done = Math.min(this.#done, this.#total);
    const perSecond = (done * 1000) / (now - this.#startMs);
    const leftSeconds = Math.ceil((this.#total - done) / perSecond);
    this.#write(
      `${showSize(done)} of ${showSize(this.#total)}, ${showSize(Math.round(perSecond))}/s, about ${leftSeconds} s to go${this.#end}`,
    );
  }

  /** Leaves no half line behind. */
  end(): void {
    if (this.#isTold && this.#end !== "\n") this.#write("\x1b[K");
    this.#isTold = false;
  }
}

export const NO_PROGRESS: Progress = { begin: () => {}, advance: () => {} };
