import { encodeConfiguration } from "../../protocol/configuration.ts";
import { indexPlus, type LogIndex, logIndex, type NodeId, type Term } from "../../protocol/ids.ts";
import type { AppendReply, Configuration, Entry, HeartbeatReply } from "../../protocol/peer-messages.ts";
import {
  faultOf,
  isJoint,
  isVoter,
  type Members,
  membersOf,
  sameNodes,
  settled,
  towards,
} from "./configuration.ts";
import { Lease } from "./lease.ts";
import type { RaftLog } from "./log.ts";
import { NOTHING, type Outbox } from "./outbox.ts";
import { Progress } from "./progress.ts";
import { majority, reachedByMajority } from "./quorum.ts";
import type { ReadRounds } from "./reads.ts";
import type { MembershipRefusal, RaftConfig, SnapshotRequest } from "./types.ts";

const NO_DATA = new Uint8Array(0);

/** One of the sets of voters that decide, as far as the leader counts it. `values`: kept to save the allocation. */
interface VoterSet {
  readonly includesSelf: boolean;
  readonly followers: readonly Progress[];
  readonly values: number[];
}

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
  /** Every other member, sorted. */
  #followers: readonly Progress[] = [];
  /** The voters, or the new ones and the outgoing ones: each set has to agree. */
  #voterSets: readonly VoterSet[] = [];
  /** The entry that this term began with. All entries from here on, and only they, are of this term. */
  readonly #termStart: LogIndex;
  readonly #lease: Lease;
  /** No other voter was asked, so the vote that made this node leader may not be durable yet. */
  readonly #electedAlone: boolean;
  #now = 0;
  #heartbeatDue = false;
  #ticksSinceHeartbeat = 0;
  #transfer: { readonly to: Progress; readonly since: number; sent: boolean } | undefined;
  #snapshots: SnapshotRequest[] = [];
  /** Where the log ended at the last two turns of an election timeout: what a member has to have to be caught up. */
  #endNow: LogIndex;
  #endBefore: LogIndex;

  /** Begins a term: appends its first entry, without which nothing earlier could be committed (Raft §8). */
  constructor(config: RaftConfig, term: Term, log: RaftLog, reads: ReadRounds) {
    this.#config = config;
    this.#term = term;
    this.#log = log;
    this.#reads = reads;
    this.#lease = new Lease(config.lease);
    this.#takeConfiguration(indexPlus(log.lastIndex, 1));
    this.#electedAlone = this.#voterSets.every(({ followers }) => followers.length === 0);
    this.#termStart = log.append(term, "noop", NO_DATA);
    this.#endNow = this.#termStart;
    this.#endBefore = this.#termStart;
  }

  /** Each other member, sorted. */
  get followers(): readonly Progress[] {
    return this.#followers;
  }

  /** Heard within an election timeout. */
  isActive(follower: Progress): boolean {
    return this.#now - follower.heardAt < this.#config.electionTicks;
  }

  /** The same, and it has answered since this leader began or woke up, and since their connection broke (`Progress`). */
  #hears(follower: Progress): boolean {
    return follower.wasHeard && this.isActive(follower);
  }

  /** No majority was heard for an election timeout: somebody else may lead by now, and nothing can be promised (thesis §6.2). */
  get lostQuorum(): boolean {
    for (const { includesSelf, followers } of this.#voterSets) {
      let active = includesSelf ? 1 : 0;
      for (const follower of followers) if (this.isActive(follower)) active++;
      if (active < majority(followers.length + (includesSelf ? 1 : 0))) return true;
    }
    return false;
  }

  /** The members without this node are committed: somebody else has to lead (thesis §4.2.2). */
  get isRetired(): boolean {
    const { index, configuration } = this.#log.membership;
    return index <= this.#log.commit && !isVoter(configuration, this.#config.id);
  }

  /** Leadership is being handed over: proposals wait for the next leader (thesis §3.10). */
  get handingOver(): boolean {
    return this.#transfer !== undefined;
  }

  tick(): void {
    this.#now++;
    if (++this.#ticksSinceHeartbeat >= this.#config.heartbeatTicks) this.#heartbeatDue = true;
    if (this.#now % this.#config.electionTicks === 0) {
      this.#endBefore = this.#endNow;
      this.#endNow = this.#log.lastIndex;
    }
    if (this.#transfer !== undefined && this.#now - this.#transfer.since >= this.#config.electionTicks) {
      this.#transfer = undefined;
    }
  }

  /** Appends a batch of commands. */
  propose(data: Uint8Array): LogIndex {
    return this.#log.append(this.#term, "commands", data);
  }

  /**
   * Begins to change the members (`configuration.ts`). One change at a time, each as safe as the one before: a new leader
   * can't know whether its predecessor's last one is committed before it has committed something itself (thesis §4.1,
   * and the correction to it). Who is to vote must be a learner already that has caught up, or there might be no majority
   * for a long time (§4.2.1). To have caught up includes the entry that made it a learner: a voter's log always says that it
   * belongs to the group.
   */
  changeMembers(members: Members): LogIndex | MembershipRefusal {
    const { index, configuration } = this.#log.membership;
    if (this.#log.commit < this.#termStart) return "newTerm";
    if (index > this.#log.commit || isJoint(configuration)) return "busy";
    if (faultOf(members) !== undefined) return "invalid";
    const next = towards(configuration, members);
    if (sameNodes(next.voters, configuration.voters) && sameNodes(next.learners, configuration.learners)) {
      return "unchanged";
    }
    for (const voter of next.voters) {
      if (!configuration.voters.includes(voter) && !this.isCaughtUp(voter)) return "notCaughtUp";
    }
    if (!this.#hearsMajority(next.voters)) return "notHeard";
    return this.#reconfigure(next);
  }

  /**
   * Whether the change could be committed as far as this leader can tell: no other one could be made before. A leader that has
   * just begun, or woke up, takes everybody for active; here only those count who have answered it.
   */
  #hearsMajority(voters: readonly NodeId[]): boolean {
    const heard = voters.filter((voter) => {
      if (voter === this.#config.id) return true;
      const follower = this.#find(voter);
      return follower !== undefined && this.#hears(follower);
    });
    return heard.length >= majority(voters.length);
  }

  /**
   * A member that is heard, knows the members, and has all that this leader had an election timeout ago or more recently. Whether it is being
   * probed since its connection broke says nothing: in a group at rest no append would ever end that.
   */
  isCaughtUp(node: NodeId): boolean {
    const follower = this.#find(node);
    if (follower === undefined || !this.#hears(follower)) return false;
    return follower.match >= this.#endBefore && follower.match >= this.#log.membership.index;
  }

  #reconfigure(configuration: Configuration): LogIndex {
    const index = this.#log.append(this.#term, "config", encodeConfiguration(configuration));
    this.#takeConfiguration(index);
    return index;
  }

  /** Counts and sends by the latest configuration from now on. `next`: what new members are sent first. */
  #takeConfiguration(next: LogIndex): void {
    const { configuration } = this.#log.membership;
    const self = this.#config.id;
    this.#followers = membersOf(configuration)
      .filter((node) => node !== self)
      .map((node) => this.#find(node) ?? new Progress(node, next, this.#config, this.#now));
    const sets = isJoint(configuration)
      ? [configuration.voters, configuration.outgoing]
      : [configuration.voters];
    this.#voterSets = sets.map((voters) => ({
      includesSelf: voters.includes(self),
      followers: this.#followers.filter(({ node }) => voters.includes(node)),
      values: new Array<number>(voters.length).fill(0),
    }));
    if (this.#transfer !== undefined && !configuration.voters.includes(this.#transfer.to.node)) {
      this.#transfer = undefined;
    }
  }

  /** Begins to hand leadership to `node`; nothing happens if it is no other voter, or is being handed it already. */
  transferTo(node: NodeId): void {
    const to = this.#find(node);
    if (to === undefined || this.#transfer?.to === to) return;
    if (!this.#log.membership.configuration.voters.includes(node)) return;
    this.#transfer = { to, since: this.#now, sent: false };
  }

  onAppendReply(reply: AppendReply): void {
    const follower = this.#find(reply.from);
    if (follower === undefined) return;
    follower.heard(this.#now);
    if (reply.accepted) {
      const compacted = indexPlus(this.#log.firstIndex, -1);
      if (follower.accepted(reply.index, compacted, this.#now)) this.advanceCommit();
    } else if (this.#hasLostLog(follower, reply) || follower.isNewRejection(reply.index)) {
      follower.rejected(this.#log.lastWithTermUpTo(reply.hintIndex, reply.hintTerm));
    }
  }

  /**
   * A learner does not have what it had: it dropped its replica, and has another one now. Nothing was counted on it. That
   * the answer may be an old one does no harm, for it is asked again then.
   */
  #hasLostLog(follower: Progress, { index }: AppendReply): boolean {
    if (index > follower.match || follower.state === "snapshot") return false;
    if (isVoter(this.#log.membership.configuration, follower.node)) return false;
    follower.forget();
    return true;
  }

  onHeartbeatReply(reply: HeartbeatReply): void {
    const follower = this.#find(reply.from);
    if (follower === undefined) return;
    follower.heard(this.#now);
    follower.answeredHeartbeat(this.#now, this.#config.heartbeatTicks);
    if (reply.readRound > follower.confirmedRound) {
      follower.confirmedRound = reply.readRound;
      this.#grantReads();
    }
  }

  onUnreachable(node: NodeId): void {
    this.#find(node)?.unreachable(this.#now);
  }

  /** The owner has sent a snapshot up to `index`, which is installed there. */
  onSnapshotDone(node: NodeId, index: LogIndex): void {
    this.#find(node)?.gotSnapshot(index);
  }

  onSnapshotFailed(node: NodeId): void {
    this.#find(node)?.missedSnapshot(this.#log.firstIndex, this.#now);
  }

  /**
   * A round for a read that arrives at `now`: a new one, that of the others of this turn, or, for a read that is content
   * with a lease, one that is granted at once because nobody else can lead yet.
   */
  readIndex(now: number, byLease: boolean): number {
    if (!byLease || this.#reads.isOpen || !this.#lease.holdsAt(now)) return this.#reads.join(now);
    // A lease began with a round that was granted: what predecessors committed is known by then.
    const round = this.#reads.grantNow(this.#log.commit);
    // Confirmed anew before it ends: as long as there are reads, they don't notice the end.
    if (this.#lease.isHalfOver(now) && this.#reads.newestWaiting === 0) this.#reads.renew(now);
    return round;
  }

  /** Whether a read round is to be closed by the next `fill`. */
  get hasOpenRead(): boolean {
    return this.#reads.isOpen;
  }

  /** Rounds that are not confirmed yet began before the pause as well: they are good for reads, not for a lease. */
  endLease(): void {
    this.#lease.interrupt();
    this.#reads.forgetTimes();
  }

  /**
   * Commits what a majority has on disk, this node among it only as far as its own log is durable (thesis §10.2.1), if
   * it is of this term: an entry of an earlier one is committed with the first of this term behind it, never by
   * counting (Raft §5.4.2, figure 8).
   */
  advanceCommit(): void {
    let reached = Number.POSITIVE_INFINITY;
    for (const set of this.#voterSets) {
      const { values, followers } = set;
      let at = 0;
      if (set.includesSelf) values[at++] = this.#log.persisted;
      for (let i = 0; i < followers.length; i++) values[at++] = followers[i]!.match;
      reached = Math.min(reached, reachedByMajority(values));
    }
    if (reached <= this.#log.commit || reached < this.#termStart) return;
    const first = this.#log.commit < this.#termStart;
    this.#log.commitTo(logIndex(reached));
    if (first) this.#grantReads();
    this.#leaveJoint();
  }

  /** Both sets of voters know of the new one: the old one is not needed any more (thesis §4.3). */
  #leaveJoint(): void {
    const { index, configuration } = this.#log.membership;
    if (!isJoint(configuration) || index > this.#log.commit) return;
    this.#reconfigure(settled(configuration));
    // The new voters alone may have more than both together.
    this.advanceCommit();
  }

  /** Whether `fill` would send something. */
  get hasMessages(): boolean {
    if (this.#mustBeSilent()) return false;
    if (this.#heartbeatDue && this.#followers.length > 0) return true;
    for (const follower of this.#followers) if (follower.wantsAppend(this.#log.lastIndex)) return true;
    return this.#handOverReady();
  }

  /** Closes the open read round and sends what is due: appends, heartbeats, the word to take over. */
  fill(outbox: Outbox): void {
    const closed = this.#reads.close(this.#log.commit);
    if (this.#mustBeSilent()) return;
    // Appends come first: a follower that gets both then learns of a commit with the entries that it is about.
    for (const follower of this.#followers) this.#sendAppends(follower, outbox);
    if (closed || this.#heartbeatDue) this.#sendHeartbeats(outbox);
    // Alone, a leader needs nobody's word.
    if (closed) this.#grantReads();
    if (this.#handOverReady()) {
      this.#tellToStand(this.#transfer!.to, outbox);
      this.#transfer!.sent = true;
    }
  }

  /** Has another voter stand at once: this node has no say any more, and waiting for an election timeout helps nobody. */
  retire(outbox: Outbox): void {
    let best: Progress | undefined;
    for (const follower of this.#voterSets[0]!.followers) {
      if (this.isActive(follower) && (best === undefined || follower.match > best.match)) best = follower;
    }
    if (best !== undefined) this.#tellToStand(best, outbox);
  }

  /**
   * A leader that nobody else voted for has a term of which only its own disk can know: learners hear nothing of that term
   * before the entry that it began with is durable, or it might be led again, with other entries, after a crash.
   */
  #mustBeSilent(): boolean {
    return this.#electedAlone && this.#log.persisted < this.#termStart;
  }

  /** The snapshots that followers have been found to need, handed out once. */
  takeSnapshots(): readonly SnapshotRequest[] {
    if (this.#snapshots.length === 0) return NOTHING;
    const snapshots = this.#snapshots;
    this.#snapshots = [];
    return snapshots;
  }

  #tellToStand(to: Progress, outbox: Outbox): void {
    // That word may arrive at any time, and voters don't protect this leader from who got it.
    this.#lease.giveUp();
    outbox.now({ kind: "timeoutNow", from: this.#config.id, to: to.node, term: this.#term });
  }

  #sendAppends(follower: Progress, outbox: Outbox): void {
    const log = this.#log;
    const nudge = follower.takeNudge();
    let sent = false;
    while (follower.wantsAppend(log.lastIndex)) {
      const prevIndex = indexPlus(follower.next, -1);
      const prevTerm = log.term(prevIndex);
      if (prevTerm === undefined) {
        this.#wantSnapshot(follower);
        return;
      }
      const end = indexPlus(log.lastIndex, 1);
      const entries =
        follower.next < end ? log.entries(follower.next, end, follower.appendBytesMax) : NOTHING;
      let bytes = 0;
      for (const entry of entries) bytes += entry.data.length;
      if (!follower.send(indexPlus(prevIndex, entries.length), bytes, this.#now)) break;
      this.#sendAppend(follower, prevIndex, prevTerm, entries, outbox);
      sent = true;
    }
    if (nudge && !sent) {
      const prevIndex = indexPlus(follower.next, -1);
      const prevTerm = log.term(prevIndex);
      if (prevTerm === undefined) this.#wantSnapshot(follower);
      else this.#sendAppend(follower, prevIndex, prevTerm, [], outbox);
    }
  }

  /** The log no longer reaches back as far as this follower needs it. */
  #wantSnapshot(follower: Progress): void {
    follower.needsSnapshot();
    this.#snapshots.push({ to: follower.node, index: indexPlus(this.#log.firstIndex, -1) });
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

  /**
   * Nothing is under way, and every member is there and has everything: there is nothing to tell anybody until something
   * happens. A learner that is silent is not waited for: it may be a copy that is kept for years while its node is away
   * (`docs/decisions/copies.md`), and it says so when it is back (`Election.tick`).
   */
  get isAtRest(): boolean {
    const log = this.#log;
    const { configuration } = log.membership;
    if (log.commit !== log.lastIndex || isJoint(configuration) || this.handingOver) return false;
    if (this.#reads.isOpen || this.#reads.newestWaiting > 0) return false;
    for (const follower of this.#followers) {
      if (this.#isAway(follower)) continue;
      if (follower.match !== log.lastIndex || !this.#hears(follower)) return false;
    }
    return true;
  }

  /** A learner that is silent. */
  #isAway(follower: Progress): boolean {
    return !this.isActive(follower) && !isVoter(this.#log.membership.configuration, follower.node);
  }

  /** The last heartbeats for a while: whoever gets one stops to wait for the next. */
  sayQuiesce(outbox: Outbox): void {
    this.#sendHeartbeats(outbox, true);
  }

  /**
   * This leader slept, and its time stood still: that somebody was heard before says nothing. Until they have answered, it
   * can't fall asleep again; if no majority does within an election timeout, it steps down.
   */
  woke(): void {
    for (const follower of this.#followers) follower.slept(this.isActive(follower), this.#now);
  }

  #sendHeartbeats(outbox: Outbox, quiesce = false): void {
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
        // Who may lack something must not sleep: if it gets this, it answers.
        quiesce: quiesce && !this.#isAway(follower),
      });
    }
  }

  #grantReads(): void {
    if (this.#log.commit < this.#termStart) return;
    let confirmed = Number.POSITIVE_INFINITY;
    for (const set of this.#voterSets) {
      const { values, followers } = set;
      let at = 0;
      if (set.includesSelf) values[at++] = this.#reads.newestWaiting;
      for (let i = 0; i < followers.length; i++) values[at++] = followers[i]!.confirmedRound;
      confirmed = Math.min(confirmed, reachedByMajority(values));
    }
    const openedAt = this.#reads.grant(confirmed, this.#termStart);
    if (openedAt !== undefined) this.#lease.confirmed(openedAt);
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
