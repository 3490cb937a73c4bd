/**
 * The Raft core: one member of one group, as a pure state machine. Ticks, messages and proposals go in; an Output comes
 * out, which says what to write, send, apply and answer, and in which order (`types.ts`). It has no clock, no disk, no
 * network and no randomness but the one it is given, so the same calls always give the same Outputs.
 *
 * This file sends each call to where it belongs, plays the follower, and gathers the Output. `election.ts` knows terms,
 * votes and roles, `leadership.ts` is what a leader does, `progress.ts` what it knows of one follower, `log.ts` what
 * happens to the log, `reads.ts` linearizable reads.
 *
 * Not here: changes of membership, learners, snapshots (a follower that needs entries which were compacted away
 * stays behind), and lease reads.
 */
import { INDEX_ZERO, type LogIndex, type NodeId, TERM_ZERO, type Term } from "../../protocol/ids.ts";
import type { AppendRequest, Heartbeat, RaftMessage, VoteRequest } from "../../protocol/peer-messages.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { Election } from "./election.ts";
import { Leadership } from "./leadership.ts";
import { RaftLog } from "./log.ts";
import { Outbox } from "./outbox.ts";
import { ReadRounds } from "./reads.ts";
import type { HardState, LogReader, Output, RaftConfig, RaftCore, RaftStatus, Role } from "./types.ts";

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
  readonly #others: readonly NodeId[];
  readonly #log: RaftLog;
  readonly #election: Election;
  readonly #reads = new ReadRounds();
  readonly #outbox = new Outbox();
  /** While this node leads. */
  #leadership: Leadership | undefined;
  /** What the last Output with a HardState had. */
  #written: HardState;

  constructor(config: RaftConfig, log: LogReader, hardState: HardState, applied: LogIndex) {
    assert(config.voters.includes(config.id), `raft: ${config.id} is none of the voters ${config.voters}`);
    assert(new Set(config.voters).size === config.voters.length, `raft: a voter twice in ${config.voters}`);
    assert(
      config.heartbeatTicks >= 1 && config.electionTicks > config.heartbeatTicks,
      `raft: an election timeout of ${config.electionTicks} ticks with heartbeats every ${config.heartbeatTicks}`,
    );
    assert(
      config.appendBytesMax > 0 && config.inflightAppendsMax > 0 && config.inflightBytesMax > 0,
      "raft: limits on appends must be positive",
    );
    this.#config = config;
    this.#others = config.voters.filter((voter) => voter !== config.id).sort();
    this.#log = new RaftLog(log, hardState.commit, applied);
    this.#election = new Election(config, this.#others, this.#log, this.#outbox, hardState);
    this.#written = hardState;
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

  tick(): void {
    if (this.#leadership === undefined) this.#election.tick();
    else {
      this.#leadership.tick();
      if (this.#leadership.lostQuorum) this.#election.follow(this.term);
    }
    this.#takeRole();
  }

  step(message: RaftMessage): void {
    if (message.to !== this.#config.id || !this.#others.includes(message.from)) return;
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
    return this.#leadership.propose(data);
  }

  readIndex(): number | undefined {
    return this.#leadership === undefined ? undefined : this.#reads.join();
  }

  persisted(index: LogIndex, entryTerm: Term): void {
    this.#log.persistedTo(index, entryTerm);
    this.#leadership?.advanceCommit();
  }

  campaign(): void {
    this.#election.campaign();
    this.#takeRole();
  }

  transferLeadership(to: NodeId): void {
    this.#leadership?.transferTo(to);
  }

  unreachable(node: NodeId): void {
    this.#leadership?.onUnreachable(node);
  }

  get hasOutput(): boolean {
    return (
      this.#log.hasTail ||
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
    return {
      hardState,
      entries: this.#log.takeTail(),
      messages: this.#outbox.takeNow(),
      messagesAfterSync: this.#outbox.takeAfterSync(),
      committed,
      reads: this.#reads.takeGranted(),
      lostReadsUpTo: this.#reads.takeLostUpTo(),
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
      replicas:
        leadership === undefined
          ? []
          : leadership.followers.map((follower) => ({
              node: follower.node,
              matchIndex: follower.match,
              active: leadership.isActive(follower),
            })),
    };
  }

  /** Begins or ends leading, as the election had it. */
  #takeRole(): void {
    const leads = this.#election.role === "leader";
    if (leads === (this.#leadership !== undefined)) return;
    if (leads) {
      this.#leadership = new Leadership(this.#config, this.#others, this.term, this.#log, this.#reads);
    } else {
      this.#leadership = undefined;
      this.#reads.lose();
    }
  }

  #onAppend(request: AppendRequest): void {
    const matched = this.#log.accept(request);
    if (matched === undefined) this.#reject(request);
    else {
      this.#outbox.afterSync({
        kind: "appendReply",
        from: this.#config.id,
        to: request.from,
        term: this.term,
        accepted: true,
        index: matched,
        hintIndex: matched,
        hintTerm: this.#log.term(matched)!,
      });
    }
  }

  #reject(request: AppendRequest): void {
    const hintIndex = this.#log.lastWithTermUpTo(request.prevIndex, request.prevTerm);
    this.#outbox.afterSync({
      kind: "appendReply",
      from: this.#config.id,
      to: request.from,
      term: this.term,
      accepted: false,
      index: request.prevIndex,
      hintIndex,
      hintTerm: this.#log.term(hintIndex) ?? TERM_ZERO,
    });
  }

  #onHeartbeat(heartbeat: Heartbeat): void {
    this.#log.commitTo(heartbeat.commit);
    this.#answerHeartbeat(heartbeat, heartbeat.readRound);
  }

  /**
   * The answer says that this node follows nobody newer, which stays true whatever a crash takes: what it promised to a
   * newer leader, it wrote before it promised. So it need not wait for the disk, and reads don't either.
   */
  #answerHeartbeat(heartbeat: Heartbeat, readRound: number): void {
    this.#outbox.now({
      kind: "heartbeatReply",
      from: this.#config.id,
      to: heartbeat.from,
      term: this.term,
      readRound,
    });
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
