import { indexPlus, type LogIndex, logIndex, type NodeId, type Term } from "../../protocol/ids.ts";
import type { AppendReply, Entry, HeartbeatReply } from "../../protocol/peer-messages.ts";
import type { RaftLog } from "./log.ts";
import type { Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { majority, reachedByMajority } from "./quorum-size.ts";
import type { ReadRounds } from "./reads.ts";
import type { RaftConfig } from "./types.ts";

const NO_DATA = new Uint8Array(0);

/**
 * What a leader keeps, from its election until it steps down (Raft figure 2, "volatile state on leaders"). Incoming
 * calls only move marks; what there is to send is worked out once an Output, by `fill`, so that everything proposed
 * since the last one leaves in one append a follower.
 */
export class Leadership {
  readonly #config: RaftConfig;
  readonly #term: Term;
  readonly #log: RaftLog;
  readonly #reads: ReadRounds;
  readonly #followers: readonly Progress[];
  /** The entry that this term began with. All entries from here on, and only they, are of this term. */
  readonly #termStart: LogIndex;
  /** One value a voter, for counting; kept to save the allocation. */
  readonly #values: number[];

  #now = 0;
  #heartbeatDue = false;
  #ticksSinceHeartbeat = 0;
  #transfer: { readonly to: Progress; readonly since: number; sent: boolean } | undefined;

  /** Begins a term: appends its first entry, without which nothing earlier could be committed (Raft §8). */
  constructor(config: RaftConfig, others: readonly NodeId[], term: Term, log: RaftLog, reads: ReadRounds) {
    this.#config = config;
    this.#term = term;
    this.#log = log;
    this.#reads = reads;
    const next = indexPlus(log.lastIndex, 1);
    this.#followers = others.map((node) => new Progress(node, next, config, 0));
    this.#values = new Array<number>(others.length + 1).fill(0);
    this.#termStart = log.append(term, "noop", NO_DATA);
  }

  /** Each other voter, sorted. */
  get followers(): readonly Progress[] {
    return this.#followers;
  }

  /** Heard within an election timeout. */
  isActive(follower: Progress): boolean {
    return this.#now - follower.heardAt < this.#config.electionTicks;
  }

  /** No majority was heard for an election timeout: somebody else may lead by now, and nothing can be promised (thesis §6.2). */
  get lostQuorum(): boolean {
    let active = 1;
    for (const follower of this.#followers) if (this.isActive(follower)) active++;
    return active < majority(this.#followers.length + 1);
  }

  /** Leadership is being handed over: proposals wait for the next leader (thesis §3.10). */
  get handingOver(): boolean {
    return this.#transfer !== undefined;
  }

  tick(): void {
    this.#now++;
    if (++this.#ticksSinceHeartbeat >= this.#config.heartbeatTicks) this.#heartbeatDue = true;
    if (this.#transfer !== undefined && this.#now - this.#transfer.since >= this.#config.electionTicks) {
      this.#transfer = undefined;
    }
  }

  /** Appends a batch of commands. */
  propose(data: Uint8Array): LogIndex {
    return this.#log.append(this.#term, "commands", data);
  }

  /** Begins to hand leadership to `node`; nothing happens if it is no other voter, or is being handed it already. */
  transferTo(node: NodeId): void {
    const to = this.#find(node);
    if (to === undefined || this.#transfer?.to === to) return;
    this.#transfer = { to, since: this.#now, sent: false };
  }

  onAppendReply(reply: AppendReply): void {
    const follower = this.#find(reply.from);
    if (follower === undefined) return;
    follower.heardAt = this.#now;
    if (reply.accepted) {
      if (follower.accepted(reply.index, this.#now)) this.advanceCommit();
    } else if (follower.isNewRejection(reply.index)) {
      follower.rejected(this.#log.lastWithTermUpTo(reply.hintIndex, reply.hintTerm));
    }
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    const follower = this.#find(reply.from);
    if (follower === undefined) return;
    follower.heardAt = this.#now;
    follower.answeredHeartbeat(this.#now, this.#config.heartbeatTicks);
    if (reply.readRound > follower.confirmedRound) {
      follower.confirmedRound = reply.readRound;
      this.#grantReads();
    }
  }

  onUnreachable(node: NodeId): void {
    this.#find(node)?.unreachable(this.#now);
  }

  /**
   * Commits what a majority has on disk, this node among it only as far as its own log is durable (thesis §10.2.1), if
   * it is of this term: an entry of an earlier one is committed with the first of this term behind it, never by
   * counting (Raft §5.4.2, figure 8).
   */
  advanceCommit(): void {
    const values = this.#values;
    values[0] = this.#log.persisted;
    for (let i = 0; i < this.#followers.length; i++) values[i + 1] = this.#followers[i]!.match;
    const reached = reachedByMajority(values);
    if (reached <= this.#log.commit || reached < this.#termStart) return;
    const first = this.#log.commit < this.#termStart;
    this.#log.commitTo(logIndex(reached));
    if (first) this.#grantReads();
  }

  /** Whether `fill` would send something. */
  get hasMessages(): boolean {
    if (this.#heartbeatDue && this.#followers.length > 0) return true;
    for (const follower of this.#followers) if (follower.wantsAppend(this.#log.lastIndex)) return true;
    return this.#handOverReady();
  }

  /** Closes the open read round and sends what is due: appends, heartbeats, the word to take over. */
  fill(outbox: Outbox): void {
    const closed = this.#reads.close(this.#log.commit);
    // Appends come first: a follower that gets both then learns of a commit with the entries that it is about.
    for (const follower of this.#followers) this.#sendAppends(follower, outbox);
    if (closed || this.#heartbeatDue) this.#sendHeartbeats(outbox);
    if (closed && this.#followers.length === 0) this.#grantReads();
    if (this.#handOverReady()) {
      outbox.now({
        kind: "timeoutNow",
        from: this.#config.id,
        to: this.#transfer!.to.node,
        term: this.#term,
      });
      this.#transfer!.sent = true;
    }
  }

  #sendAppends(follower: Progress, outbox: Outbox): void {
    const log = this.#log;
    const nudge = follower.takeNudge();
    let sent = false;
    while (follower.wantsAppend(log.lastIndex)) {
      const prevIndex = indexPlus(follower.next, -1);
      const prevTerm = log.term(prevIndex);
      if (prevTerm === undefined) {
        // The log no longer reaches back that far. The follower may have what was compacted, though this leader
        // doesn't know of it: where the log begins is asked once a heartbeat.
        follower.waitAt(log.firstIndex, this.#now);
        return;
      }
      const entries = log.entries(follower.next, indexPlus(log.lastIndex, 1), follower.appendBytesMax);
      let bytes = 0;
      for (const entry of entries) bytes += entry.data.length;
      if (!follower.send(indexPlus(prevIndex, entries.length), bytes, this.#now)) break;
      this.#sendAppend(follower, prevIndex, prevTerm, entries, outbox);
      sent = true;
    }
    if (nudge && !sent) {
      const prevIndex = indexPlus(follower.next, -1);
      this.#sendAppend(follower, prevIndex, log.term(prevIndex)!, [], outbox);
    }
  }

  #sendAppend(
    follower: Progress,
    prevIndex: LogIndex,
    prevTerm: Term,
    entries: readonly Entry[],
    outbox: Outbox,
  ): void {
    outbox.now({
      kind: "append",
      from: this.#config.id,
      to: follower.node,
      term: this.#term,
      prevIndex,
      prevTerm,
      commit: this.#log.commit,
      entries,
    });
  }

  #sendHeartbeats(outbox: Outbox): void {
    this.#heartbeatDue = false;
    this.#ticksSinceHeartbeat = 0;
    const readRound = this.#reads.newestWaiting;
    for (const follower of this.#followers) {
      outbox.now({
        kind: "heartbeat",
        from: this.#config.id,
        to: follower.node,
        term: this.#term,
        // Past its match, a follower may hold entries of another history: it must not take them for committed.
        commit: logIndex(Math.min(follower.match, this.#log.commit)),
        readRound,
      });
    }
  }

  #grantReads(): void {
    if (this.#log.commit < this.#termStart) return;
    const values = this.#values;
    values[0] = this.#reads.newestWaiting;
    for (let i = 0; i < this.#followers.length; i++) values[i + 1] = this.#followers[i]!.confirmedRound;
    this.#reads.grant(reachedByMajority(values), this.#termStart);
  }

  /** The next leader has everything, and wasn't told yet. */
  #handOverReady(): boolean {
    const transfer = this.#transfer;
    return transfer !== undefined && !transfer.sent && transfer.to.match === this.#log.lastIndex;
  }

  #find(node: NodeId): Progress | undefined {
    for (const follower of this.#followers) if (follower.node === node) return follower;
    return undefined;
  }
}
