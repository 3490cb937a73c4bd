import { INDEX_ZERO, indexPlus, type LogIndex, logIndex, type NodeId } from "../../protocol/ids.ts";
import type { RaftConfig } from "./types.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

/** The limits on what may be on its way to one follower. */
export type FlowLimits = Pick<RaftConfig, "appendBytesMax" | "inflightAppendsMax" | "inflightBytesMax">;

/**
 * What a leader knows of one follower (Raft figure 2: nextIndex, matchIndex), and what is on its way to it.
 *
 * - `probe`: it is not known where the logs part. One append at a time, until one is accepted.
 * - `replicate`: the logs agree. Appends follow each other without waiting (thesis §10.2.1), `next` moving on with what
 *   was sent, up to the limits. A lost append shows as a rejection of the one behind it, or of a nudge, and leads back
 *   to `probe`.
 * - `snapshot`: it needs entries that were compacted away (thesis §5). Nothing is sent until the snapshot is there, or
 *   could not be sent, or the follower turns out to have got those entries in another way.
 */
export class Progress {
  readonly node: NodeId;
  readonly #limits: FlowLimits;
  /** The tick of the leader's time when this follower was last heard; when it was first counted, if it never was. */
  heardAt: number;
  /** Whether it has said anything to this leader since that one began to lead or woke up, and since their connection broke. */
  wasHeard = false;
  /** The newest read round that it confirmed. */
  confirmedRound = 0;

  #state: ProgressState = "probe";
  #match: LogIndex = INDEX_ZERO;
  #next: LogIndex;
  #probeSent = false;
  /** Last index and bytes of each append in flight, oldest first. */
  #inflight: { readonly last: LogIndex; readonly bytes: number }[] = [];
  #inflightBytes = 0;
  /** The next entry did not fit beside what is in flight. */
  #full = false;
  #nudge = false;
  /** Since when the leader waits for an answer to a probe, or for `match` to move. */
  #waitingSince: number;

  /** A follower of which nothing is known; `next` is the leader's guess, the end of its own log. */
  constructor(node: NodeId, next: LogIndex, limits: FlowLimits, now: number) {
    this.node = node;
    this.#next = next;
    this.#limits = limits;
    this.heardAt = now;
    this.#waitingSince = now;
  }

  /** It answered something. */
  heard(now: number): void {
    this.heardAt = now;
    this.wasHeard = true;
  }

  /** The leader slept for nobody knows how long. Who was there before has as long as ever to say that it is there still. */
  slept(wasThere: boolean, now: number): void {
    this.wasHeard = false;
    if (wasThere) this.heardAt = now;
  }

  get state(): ProgressState {
    return this.#state;
  }

  /** Everything up to here equals the leader's log and is durable there. */
  get match(): LogIndex {
    return this.#match;
  }

  /** The first entry of the next append. */
  get next(): LogIndex {
    return this.#next;
  }

  /** An append would be sent now by a leader whose log ends at `lastIndex`. */
  wantsAppend(lastIndex: LogIndex): boolean {
    if (this.#state === "snapshot") return false;
    if (this.#nudge) return true;
    // A probe may have nothing to carry, and yet a question to ask.
    if (this.#state === "probe") {
      return !this.#probeSent && (this.#next <= lastIndex || this.#match < this.#next - 1);
    }
    if (this.#next > lastIndex) return false;
    return !this.#full && this.#inflight.length < this.#limits.inflightAppendsMax;
  }

  /** An append without entries is wanted, to learn whether what was sent arrived. Asked once. */
  takeNudge(): boolean {
    const nudge = this.#nudge;
    this.#nudge = false;
    return nudge;
  }

  /** Most bytes of the next append. */
  get appendBytesMax(): number {
    return Math.min(this.#limits.appendBytesMax, this.#limits.inflightBytesMax - this.#inflightBytes);
  }

  /** Notes that entries from `next` up to `last` leave, `bytes` of data; false if they have to wait for room. */
  send(last: LogIndex, bytes: number, now: number): boolean {
    if (this.#state === "probe") {
      this.#probeSent = true;
      this.#waitingSince = now;
      return true;
    }
    if (this.#inflight.length > 0 && this.#inflightBytes + bytes > this.#limits.inflightBytesMax) {
      this.#full = true;
      return false;
    }
    if (this.#match === this.#next - 1) this.#waitingSince = now;
    this.#inflight.push({ last, bytes });
    this.#inflightBytes += bytes;
    this.#next = indexPlus(last, 1);
    return true;
  }

  /** The log no longer has what this follower needs next. */
  needsSnapshot(): void {
    this.#restart("snapshot", this.#next);
  }

  /** A snapshot up to `index` is in place, as its sender says: a probe behind it will tell. */
  gotSnapshot(index: LogIndex): void {
    if (this.#state === "snapshot") this.#restart("probe", logIndex(Math.max(this.#match, index) + 1));
  }

  /**
   * The snapshot could not be sent, as its sender believes; it may be there all the same. So whether the follower has what
   * comes before `first`, where the leader's log begins, is asked once more.
   */
  missedSnapshot(first: LogIndex, now: number): void {
    if (this.#state === "snapshot") this.waitAt(first, now);
  }

  /**
   * The follower's log equals the leader's up to `index`. True if that was news. `compacted`: the leader's log begins
   * behind it.
   */
  accepted(index: LogIndex, compacted: LogIndex, now: number): boolean {
    if (index < this.#match) return false;
    const news = index > this.#match;
    this.#match = index;
    this.#waitingSince = now;
    if (this.#state === "snapshot" && index < compacted) return news;
    if (this.#state !== "replicate") {
      this.#restart("replicate", indexPlus(index, 1));
      return news;
    }
    this.#next = logIndex(Math.max(this.#next, index + 1));
    let arrived = 0;
    while (arrived < this.#inflight.length && this.#inflight[arrived]!.last <= index) {
      this.#inflightBytes -= this.#inflight[arrived]!.bytes;
      arrived++;
    }
    // Mostly all of it: what is on its way was answered before the next was sent.
    if (arrived === this.#inflight.length) this.#inflight.length = 0;
    else if (arrived > 0) this.#inflight.splice(0, arrived);
    this.#full = false;
    return news;
  }

  /** Whether a rejection of an append behind `prevIndex` tells something, rather than being of an earlier attempt. */
  isNewRejection(prevIndex: LogIndex): boolean {
    if (this.#state === "snapshot") return false;
    return this.#state === "probe" ? prevIndex === this.#next - 1 : prevIndex > this.#match;
  }

  /** What the follower was known to have, it may have no more. Not for voters: what they acknowledge counts for ever. */
  forget(): void {
    this.#match = INDEX_ZERO;
  }

  /** The follower did not have what an append followed on; the logs may agree up to `agree`. */
  rejected(agree: LogIndex): void {
    this.#restart("probe", logIndex(Math.max(this.#match, agree) + 1));
  }

  /**
   * The follower answered a heartbeat, so what is sent now will probably arrive. What has had no answer for `patience`
   * ticks may be lost: a probe is repeated, and an empty append behind the others will tell whether they arrived.
   */
  answeredHeartbeat(now: number, patience: number): void {
    if (now - this.#waitingSince < patience) return;
    this.#waitingSince = now;
    if (this.#state === "probe") this.#probeSent = false;
    else if (this.#state === "replicate") this.#nudge = this.#match < this.#next - 1;
  }

  /** What was in flight counts as lost, and nothing is sent until the follower answers a later heartbeat. */
  unreachable(now: number): void {
    // It was heard over a connection that is no more. A leader that fell asleep now would not hear that it is gone.
    this.wasHeard = false;
    // Whoever streams a snapshot goes on with it when the connection is back, or says that it failed.
    if (this.#state === "snapshot") return;
    // A probe's `next` may be above `match` and yet the best that is known: a new leader's match is 0.
    this.waitAt(this.#state === "probe" ? this.#next : indexPlus(this.#match, 1), now);
  }

  /** Goes on with a probe at `next`, but not before the follower answers a later heartbeat. */
  waitAt(next: LogIndex, now: number): void {
    this.#restart("probe", next);
    this.#probeSent = true;
    this.#waitingSince = now;
  }

  #restart(state: ProgressState, next: LogIndex): void {
    this.#state = state;
    this.#next = next;
    this.#probeSent = false;
    this.#nudge = false;
    this.#full = false;
    this.#inflight = [];
    this.#inflightBytes = 0;
  }
}
