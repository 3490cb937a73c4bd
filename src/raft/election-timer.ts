import { assert } from "../lib/assert.ts";
import type { RaftConfig } from "./types.ts";

/**
 * Ticks since this node last had a reason to be patient: a word from the current leader, or a vote that it gave away.
 * The patience is drawn anew for each election from [electionTicks, 2 × electionTicks), so that split votes end (Raft §5.2).
 */
export class ElectionTimer {
  readonly #electionTicks: number;
  readonly #random: RaftConfig["random"];
  #elapsed = 0;
  #patience = 0;
  #hurried = false;

  constructor(config: Pick<RaftConfig, "electionTicks" | "random">) {
    this.#electionTicks = config.electionTicks;
    this.#random = config.random;
    this.redraw();
  }

  /** One tick. */
  tick(): void {
    this.#elapsed++;
  }

  /** There was a reason to be patient. */
  restart(): void {
    if (this.#hurried) this.redraw();
    else this.#elapsed = 0;
  }

  /** Starts again, with another patience. */
  redraw(): void {
    this.#elapsed = 0;
    this.#hurried = false;
    const extra = this.#random.below(this.#electionTicks);
    assert(extra >= 0 && extra < this.#electionTicks, `election timer: random gave ${extra}`);
    this.#patience = this.#electionTicks + extra;
  }

  /** Expires `ticks` from now, unless it would earlier, or there is a reason to be patient before. */
  hurry(ticks: number): void {
    this.#hurried = true;
    this.#patience = Math.min(this.#patience, this.#elapsed + ticks);
  }

  /** Who is in a hurry gives somebody else `ticks` from now. */
  defer(ticks: number): void {
    if (this.#hurried) this.#patience = Math.max(this.#patience, this.#elapsed + ticks);
  }

  /** It is time to campaign. */
  get expired(): boolean {
    return this.#elapsed >= this.#patience;
  }
}
