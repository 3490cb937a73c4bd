import { type LogIndex, logIndex } from "../../protocol/ids.ts";
import { assert } from "../lib/assert.ts";
import { NOTHING } from "./outbox.ts";
import type { ReadGrant } from "./types.ts";

/** A closed round. `openedAt`: when its first read arrived. `isWanted`: some read waits for it. */
interface WaitingRound extends ReadGrant {
  readonly openedAt: number;
  readonly isWanted: boolean;
}

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
  #openedAt = 0;
  #isWanted = false;
  #waiting: WaitingRound[] = [];
  #granted: ReadGrant[] = [];
  #lostUpTo = 0;
  #lossIsNews = false;

  /** The round that a read which arrives now, at `now`, belongs to. */
  join(now = 0): number {
    this.renew(now);
    this.#isWanted = true;
    return this.#newest;
  }

  /** Opens a round that no read waits for, if none is open: a lease is to begin with it. */
  renew(now: number): void {
    if (this.#open) return;
    this.#open = true;
    this.#isWanted = false;
    this.#openedAt = now;
    this.#newest++;
  }

  /** A round of its own for a read that needs nobody's word: no other leader can exist (`lease.ts`). None may be open. */
  grantNow(index: LogIndex): number {
    assert(!this.#open, "raft reads: a round granted beside an open one");
    const round = ++this.#newest;
    this.#granted.push({ round, index });
    return round;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Closes the open round, if there is one: its reads need a state at least as new as `index`. */
  close(index: LogIndex): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#waiting.push({ round: this.#newest, index, openedAt: this.#openedAt, isWanted: this.#isWanted });
    return true;
  }

  /** The newest closed round that waits, for heartbeats; 0 for none. */
  get newestWaiting(): number {
    return this.#waiting.length === 0 ? 0 : this.#waiting[this.#waiting.length - 1]!.round;
  }

  /**
   * Grants the rounds up to `confirmed`. `termStart` is the leader's own term's first entry, which is committed. Returns
   * when the newest of them was opened, `undefined` if there was none.
   */
  grant(confirmed: number, termStart: LogIndex): number | undefined {
    let count = 0;
    while (count < this.#waiting.length && this.#waiting[count]!.round <= confirmed) {
      const { round, index, isWanted } = this.#waiting[count]!;
      if (isWanted) this.#granted.push({ round, index: logIndex(Math.max(index, termStart)) });
      count++;
    }
    if (count === 0) return undefined;
    const { openedAt } = this.#waiting[count - 1]!;
    this.#waiting.splice(0, count);
    return openedAt;
  }

  /** When rounds were opened is not known any more: no lease begins with what waits, or is open. */
  forgetTimes(): void {
    this.#openedAt = Number.NEGATIVE_INFINITY;
    this.#waiting = this.#waiting.map((round) => ({ ...round, openedAt: Number.NEGATIVE_INFINITY }));
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
