import { type LogIndex, logIndex } from "../../protocol/ids.ts";
import { NOTHING } from "./outbox.ts";
import type { ReadGrant } from "./types.ts";

/**
 * ReadIndex (thesis §6.4): a leader may answer a read from its own state once it knows that it was still the leader
 * after the read arrived, and has applied what was committed by then.
 *
 * Reads come in rounds. All that arrive between two Outputs share one; the Output closes it, notes the commit index, and
 * its heartbeats carry the round's number. The round is granted when a majority has answered a heartbeat with that
 * number or a later one, hence one that left after the reads arrived. A new leader does not know yet what its
 * predecessors committed: nothing is granted before an entry of its own term is committed, and never with an index
 * below that entry.
 */
export class ReadRounds {
  #newest = 0;
  #open = false;
  #waiting: ReadGrant[] = [];
  #granted: ReadGrant[] = [];
  #lostUpTo = 0;
  #lossIsNews = false;

  /** The round that a read which arrives now belongs to. */
  join(): number {
    if (!this.#open) {
      this.#open = true;
      this.#newest++;
    }
    return this.#newest;
  }

  /** Closes the open round, if there is one: its reads need a state at least as new as `index`. */
  close(index: LogIndex): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#waiting.push({ round: this.#newest, index });
    return true;
  }

  /** The newest closed round that waits, for heartbeats; 0 for none. */
  get newestWaiting(): number {
    return this.#waiting.length === 0 ? 0 : this.#waiting[this.#waiting.length - 1]!.round;
  }

  /** Grants the rounds up to `confirmed`. `termStart` is the leader's own term's first entry, which is committed. */
  grant(confirmed: number, termStart: LogIndex): void {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count]!.round <= confirmed) {
      const { round, index } = this.#waiting[count]!;
      this.#granted.push({ round, index: logIndex(Math.max(index, termStart)) });
      count++;
    }
    if (count > 0) this.#waiting.splice(0, count);
  }

  /** Leadership was lost: what waits will not be granted. */
  lose(): void {
    if (!this.#open && this.#waiting.length === 0) return;
    this.#open = false;
    this.#waiting = [];
    this.#lostUpTo = this.#newest;
    this.#lossIsNews = true;
  }

  get hasOutput(): boolean {
    return this.#open || this.#granted.length > 0 || this.#lossIsNews;
  }

  /** The rounds granted since the last call. */
  takeGranted(): readonly ReadGrant[] {
    if (this.#granted.length === 0) return NOTHING;
    const granted = this.#granted;
    this.#granted = [];
    return granted;
  }

  /** All rounds up to here that were not granted never will be. */
  takeLostUpTo(): number {
    this.#lossIsNews = false;
    return this.#lostUpTo;
  }
}
