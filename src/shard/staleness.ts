import { INDEX_ZERO, type LogIndex } from "../../protocol/ids.ts";

/** How old what this replica has applied may be, by what leaders told it of their commits. */
export class Staleness {
  #leaderCommit: LogIndex = INDEX_ZERO;
  /** When this replica last had applied everything that its leader had told it was committed. */
  #currentAtMs = Number.NEGATIVE_INFINITY;

  /** A leader that is not an old one said how far it has committed. */
  heard(commit: LogIndex, applied: LogIndex, nowMs: number): void {
    if (commit > this.#leaderCommit) this.#leaderCommit = commit;
    if (applied >= this.#leaderCommit) this.#currentAtMs = nowMs;
  }

  /** How long ago that was, in milliseconds: endless before the first time. */
  ageMs(nowMs: number): number {
    return nowMs - this.#currentAtMs;
  }
}
