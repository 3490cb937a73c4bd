/**
 * The Raft core: one member of one group, as a pure state machine. Ticks, messages and proposals go in; an Output comes
 * out, which says what to write, send, apply and answer, and in which order (`types.ts`). It has no clock, no disk, no
 * network and no randomness but the one it is given, so the same calls always give the same Outputs.
 *
 * This file sends each call to where it belongs, plays the follower, and gathers the Output. `election.ts` knows terms,
 * votes and roles, `leadership.ts` is what a leader does, `progress.ts` what it knows of one follower, `log.ts` what
 * happens to the log, `configuration.ts` who the members are, `reads.ts` linearizable reads and `lease.ts` cheaper ones.
 *
 * The bytes of a snapshot never come here. A leader's core says who needs one (`Output.snapshots`); the owners stream it;
 * and when it is there, the follower's core says whether it takes the place of its log (`Output.install`).
 */
import { INDEX_ZERO, type LogIndex, type NodeId, TERM_ZERO, type Term } from "../../protocol/ids.ts";
import type {
  AppendRequest,
  Heartbeat,
  HeartbeatReply,
  RaftMessage,
  VoteRequest,
} from "../../protocol/peer-messages.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { isMember, type Members, type Membership } from "./configuration.ts";
import { Election } from "./election.ts";
import { Leadership } from "./leadership.ts";
import { RaftLog } from "./log.ts";
import { NOTHING, Outbox } from "./outbox.ts";
import { ReadRounds } from "./reads.ts";
import type {
  HardState,
  LogReader,
  MembershipRefusal,
  Output,
  RaftConfig,
  RaftCore,
  RaftStatus,
  ReceivedSnapshot,
  Role,
} from "./types.ts";

/** About how many bytes of committed entries one Output hands out; more wait for the next (`hasOutput` stays true). */
const COMMITTED_BYTES_MAX = 16 * 1024 * 1024;
/** The commit index is written with entries that are written anyway, once it is this far ahead of what was written. */
const COMMIT_LAG_MAX = 1024;

/**
 * A core over what survived: `log`, all of which counts as durable, and `hardState` (term 0, no vote, commit 0 for a new
 * one). It starts as a follower. `applied` is how far its owner has the effects of the log: `committed` begins behind it,
 * and at the log's first entry without it.
 */
export function createRaft(
  config: RaftConfig,
  log: LogReader,
  hardState: HardState,
  applied: LogIndex = INDEX_ZERO,
): RaftCore {
  return new Raft(config, log, hardState, applied);
}

class Raft implements RaftCore {
  readonly #config: RaftConfig;
  readonly #log: RaftLog;
  readonly #election: Election;
  readonly #reads = new ReadRounds();
  readonly #outbox = new Outbox();
  /** While this node leads. */
  #leadership: Leadership | undefined;
  #quiescent = false;
  /** What the last Output with a HardState had. */
  #written: HardState;
  /**
   * Whether a crash could take the term that this node is in, and all terms before it: then it would come back as a node that
   * never heard of a leader, and keep no promise (`lease.ts`).
   */
  #mayForgetTerms: boolean;

  constructor(config: RaftConfig, log: LogReader, hardState: HardState, applied: LogIndex) {
    assert(config.lease >= 0, `raft: a lease of ${config.lease}`);
    assert(
      config.heartbeatTicks >= 1 && config.electionTicks > config.heartbeatTicks,
      `raft: an election timeout of ${config.electionTicks} ticks with heartbeats every ${config.heartbeatTicks}`,
    );
    assert(
      config.appendBytesMax > 0 && config.inflightAppendsMax > 0 && config.inflightBytesMax > 0,
      "raft: limits on appends must be positive",
    );
    this.#config = config;
    this.#log = new RaftLog(log, config.membership, hardState.commit, applied);
    this.#election = new Election(config, this.#log, this.#outbox, hardState);
    this.#written = hardState;
    this.#mayForgetTerms = config.lease > 0 && hardState.term === 0;
    assert(
      this.#log.lastTerm <= hardState.term,
      `raft: the log ends in term ${this.#log.lastTerm}, but the current term is ${hardState.term}`,
    );
  }

  get role(): Role {
    return this.#election.role;
  }

  get term(): Term {
    return this.#election.term;
  }

  get leader(): NodeId | undefined {
    return this.#election.leader;
  }

  get commitIndex(): LogIndex {
    return this.#log.commit;
  }

  get lastIndex(): LogIndex {
    return this.#log.lastIndex;
  }

  get membership(): Membership {
    return this.#log.membership;
  }

  get quiescent(): boolean {
    return this.#quiescent;
  }

  quiesce(): boolean {
    if (this.#quiescent) return true;
    if (this.#leadership?.isAtRest !== true || this.hasOutput) return false;
    this.#leadership.sayQuiesce(this.#outbox);
    this.#quiescent = true;
    return true;
  }

  wake(): void {
    if (!this.#quiescent) return;
    this.#rouse();
    const { leader } = this;
    if (leader === undefined || leader === this.#config.id) return;
    // An answer that nobody asked for wakes the leader: it goes on with its heartbeats.
    const { id } = this.#config;
    this.#outbox.now({ kind: "heartbeatReply", from: id, to: leader, term: this.term, readRound: 0 });
  }

  #rouse(): void {
    if (!this.#quiescent) return;
    this.#quiescent = false;
    this.#leadership?.woke();
  }

  tick(): void {
    if (this.#quiescent) return;
    if (this.#leadership === undefined) this.#election.tick();
    else {
      this.#leadership.tick();
      if (this.#leadership.lostQuorum) this.#election.follow(this.term);
    }
    this.#takeRole();
  }

  step(message: RaftMessage): void {
    if (message.to !== this.#config.id || message.from === this.#config.id) return;
    if (isAnswer(message) && !isMember(this.membership.configuration, message.from)) return;
    this.#rouse();
    if (message.term < this.term) this.#answerOld(message);
    else if (message.kind === "vote") this.#election.onVoteRequest(message);
    else if (message.kind === "voteReply" && message.preVote && message.granted) {
      // Its term is one that may never come, and is not taken over.
      this.#election.onVoteReply(message);
    } else {
      if (message.term > this.term) this.#election.follow(message.term);
      this.#takeRole();
      this.#stepInTerm(message);
    }
    this.#takeRole();
  }

  /** A message of this node's own term. */
  #stepInTerm(message: Exclude<RaftMessage, VoteRequest>): void {
    switch (message.kind) {
      case "voteReply":
        this.#election.onVoteReply(message);
        break;
      case "append":
        this.#election.hear(message.from);
        this.#onAppend(message);
        break;
      case "heartbeat":
        this.#election.hear(message.from);
        this.#onHeartbeat(message);
        break;
      case "appendReply":
        this.#leadership?.onAppendReply(message);
        break;
      case "heartbeatReply":
        this.#leadership?.onHeartbeatReply(message);
        break;
      case "timeoutNow":
        if (this.leader === message.from) this.#election.stand(true);
        break;
      default:
        unreachable(message, "raft step");
    }
  }

  propose(data: Uint8Array): LogIndex | undefined {
    if (this.#leadership === undefined || this.#leadership.handingOver) return undefined;
    this.#rouse();
    return this.#leadership.propose(data);
  }

  changeMembers(members: Members): LogIndex | MembershipRefusal {
    if (this.#leadership === undefined || this.#leadership.handingOver) return "notLeader";
    this.#rouse();
    return this.#leadership.changeMembers(members);
  }

  mayVote(node: NodeId): boolean {
    return this.#leadership !== undefined && (node === this.#config.id || this.#leadership.isCaughtUp(node));
  }

  readIndex(now = 0, byLease = false): number | undefined {
    if (this.#leadership === undefined) return undefined;
    const round = this.#leadership.readIndex(now, byLease);
    // What is granted at once needs nobody: a group that is asleep sleeps on.
    if (this.#leadership.hasOpenRead) this.#rouse();
    return round;
  }

  endLease(): void {
    this.#leadership?.endLease();
  }

  persisted(index: LogIndex, entryTerm: Term): void {
    this.#log.persistedTo(index, entryTerm);
    this.#mayForgetTerms = false;
    this.#leadership?.advanceCommit();
    this.#takeRole();
  }

  campaign(): void {
    this.#rouse();
    this.#election.campaign();
    this.#takeRole();
  }

  transferLeadership(to: NodeId): void {
    if (this.#leadership === undefined) return;
    this.#rouse();
    this.#leadership.transferTo(to);
  }

  unreachable(node: NodeId): void {
    // With its leader, if that lives: two who wait for heartbeats that nobody sends would elect another one.
    this.wake();
    this.#leadership?.onUnreachable(node);
    this.#election.suspect(node);
  }

  snapshotReceived(snapshot: ReceivedSnapshot): void {
    const { from, term, index, lastTerm } = snapshot;
    this.#rouse();
    if (term < this.term) {
      this.#answerAppend(from, false, index, INDEX_ZERO);
      return;
    }
    if (term > this.term) this.#election.follow(term);
    this.#takeRole();
    this.#election.hear(from);
    if (index > this.#log.commit && this.#log.term(index) !== lastTerm) this.#log.install(snapshot);
    else this.#log.commitTo(index);
    this.#answerAppend(from, true, index, index);
  }

  snapshotDone(to: NodeId, index: LogIndex): void {
    this.#leadership?.onSnapshotDone(to, index);
  }

  snapshotFailed(to: NodeId): void {
    this.#leadership?.onSnapshotFailed(to);
  }

  get hasOutput(): boolean {
    return (
      this.#log.hasTail ||
      this.#log.hasInstall ||
      this.#log.hasCommitted ||
      !this.#outbox.empty ||
      this.#reads.hasOutput ||
      this.#voteIsNew() ||
      this.#leadership?.hasMessages === true
    );
  }

  takeOutput(): Output {
    // Before the tail is taken: appends read entries from it, and an Output has one writer.
    this.#leadership?.fill(this.#outbox);
    const hardState = this.#takeHardState();
    const committed = this.#log.takeCommitted(COMMITTED_BYTES_MAX);
    const entries = this.#log.takeTail();
    return {
      install: this.#log.takeInstall(),
      hardState,
      entries,
      messages: this.#outbox.takeNow(),
      messagesAfterSync: this.#outbox.takeAfterSync(),
      committed,
      reads: this.#reads.takeGranted(),
      lostReadsUpTo: this.#reads.takeLostUpTo(),
      snapshots: this.#leadership?.takeSnapshots() ?? NOTHING,
    };
  }

  status(): RaftStatus {
    const leadership = this.#leadership;
    return {
      role: this.role,
      term: this.term,
      leader: this.leader,
      lastIndex: this.#log.lastIndex,
      commitIndex: this.#log.commit,
      membership: this.membership,
      replicas:
        leadership === undefined
          ? []
          : leadership.followers.map((follower) => ({
              node: follower.node,
              matchIndex: follower.match,
              active: leadership.isActive(follower),
              state: follower.state,
              votes: this.membership.configuration.voters.includes(follower.node),
            })),
    };
  }

  /** Begins or ends leading, as the election had it, or as the members want it. */
  #takeRole(): void {
    if (this.#leadership?.isRetired === true && this.#election.role === "leader") {
      this.#leadership.retire(this.#outbox);
      this.#election.follow(this.term);
    }
    const leads = this.#election.role === "leader";
    if (leads === (this.#leadership !== undefined)) return;
    if (leads) {
      this.#leadership = new Leadership(this.#config, this.term, this.#log, this.#reads);
    } else {
      this.#leadership = undefined;
      this.#reads.lose();
    }
  }

  #onAppend(request: AppendRequest): void {
    const matched = this.#log.accept(request);
    if (matched === undefined) this.#reject(request);
    else this.#answerAppend(request.from, true, matched, matched);
  }

  #reject(request: AppendRequest): void {
    const hintIndex = this.#log.lastWithTermUpTo(request.prevIndex, request.prevTerm);
    this.#answerAppend(request.from, false, request.prevIndex, hintIndex);
  }

  #answerAppend(to: NodeId, accepted: boolean, index: LogIndex, hintIndex: LogIndex): void {
    this.#outbox.afterSync({
      kind: "appendReply",
      from: this.#config.id,
      to,
      term: this.term,
      accepted,
      index,
      hintIndex,
      hintTerm: this.#log.term(hintIndex) ?? TERM_ZERO,
    });
  }

  #onHeartbeat(heartbeat: Heartbeat): void {
    if (heartbeat.commit > this.#log.lastIndex && heartbeat.commit <= (this.#config.floor?.index ?? 0)) {
      // What the leader counts on, the replica had that was dropped here. It has to learn that this is another one.
      this.#answerAppend(heartbeat.from, false, heartbeat.commit, this.#log.lastIndex);
      return;
    }
    this.#log.commitTo(heartbeat.commit);
    // An answer would wake the leader, and is meant to where this node can't go to sleep.
    if (heartbeat.quiesce && this.#log.lastIndex === heartbeat.commit) this.#quiescent = true;
    else this.#answerHeartbeat(heartbeat, heartbeat.readRound);
  }

  /**
   * The answer says that this node follows nobody newer, which stays true whatever a crash takes: what it promised to a
   * newer leader, it wrote before it promised. So it need not wait for the disk, and reads don't either. Only what a lease
   * may begin with has to wait until a crash leaves some term for the node to remember a promise by.
   */
  #answerHeartbeat(heartbeat: Heartbeat, readRound: number): void {
    const reply: HeartbeatReply = {
      kind: "heartbeatReply",
      from: this.#config.id,
      to: heartbeat.from,
      term: this.term,
      readRound,
    };
    if (this.#mayForgetTerms) this.#outbox.afterSync(reply);
    else this.#outbox.now(reply);
  }

  /** Tells the sender of an old term which one it is, so that it does not lead, or ask, in vain for ever. */
  #answerOld(message: RaftMessage): void {
    if (message.kind === "append") this.#reject(message);
    else if (message.kind === "heartbeat") this.#answerHeartbeat(message, 0);
    else if (message.kind === "vote") this.#election.answer(message, false);
  }

  #voteIsNew(): boolean {
    return this.term !== this.#written.term || this.#election.votedFor !== this.#written.votedFor;
  }

  #takeHardState(): HardState | undefined {
    const commit = this.#log.commit;
    const lags = this.#log.hasTail && commit - this.#written.commit >= COMMIT_LAG_MAX;
    if (!lags && !this.#voteIsNew()) return undefined;
    this.#written = { term: this.term, votedFor: this.#election.votedFor, commit };
    return this.#written;
  }
}

function isAnswer({ kind }: RaftMessage): boolean {
  return kind === "voteReply" || kind === "appendReply" || kind === "heartbeatReply";
}
