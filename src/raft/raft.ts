/**
 * The Raft core: one member of one group, as a pure state machine. Ticks, messages and proposals go in; an Output comes
 * out, which says what to write, send, apply and answer, and in which order (`types.ts`). It has no clock, no disk, no
 * network and no randomness but the one it is given, so the same calls always give the same Outputs.
 *
 * This file holds the roles and the rules of terms and votes (Raft §5.1, §5.2; PreVote thesis §9.6; CheckQuorum §6.2).
 * `leadership.ts` is what a leader does, `log.ts` what happens to the log, `reads.ts` linearizable reads.
 *
 * Not here: changes of membership, learners, snapshots (a follower that needs entries which were compacted away
 * stays behind), and lease reads.
 */
import { type LogIndex, type NodeId, nextTerm, TERM_ZERO, type Term } from "../../protocol/ids.ts";
import type {
  AppendRequest,
  Heartbeat,
  RaftMessage,
  VoteReply,
  VoteRequest,
} from "../../protocol/peer-messages.ts";
import { assert, unreachable } from "../lib/assert.ts";
import { Ballot } from "./ballot.ts";
import { ElectionTimer } from "./election-timer.ts";
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
 * one). It starts as a follower. `committed` begins again at the log's first entry: the owner skips what it has applied.
 */
export function createRaft(config: RaftConfig, log: LogReader, hardState: HardState): RaftCore {
  return new Raft(config, log, hardState);
}

class Raft implements RaftCore {
  readonly #config: RaftConfig;
  readonly #others: readonly NodeId[];
  readonly #log: RaftLog;
  readonly #timer: ElectionTimer;
  readonly #reads = new ReadRounds();
  readonly #outbox = new Outbox();

  #role: Role = "follower";
  #term: Term;
  #votedFor: NodeId | undefined;
  #leader: NodeId | undefined;
  /** While this node campaigns, or asks whether it should. */
  #ballot: Ballot | undefined;
  /** While this node leads. */
  #leadership: Leadership | undefined;
  /** What the last Output with a HardState had. */
  #written: HardState;

  constructor(config: RaftConfig, log: LogReader, hardState: HardState) {
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
    this.#log = new RaftLog(log, hardState.commit);
    this.#timer = new ElectionTimer(config);
    this.#term = hardState.term;
    this.#votedFor = hardState.votedFor;
    this.#written = hardState;
    assert(
      this.#log.lastTerm <= this.#term,
      `raft: the log ends in term ${this.#log.lastTerm}, but the current term is ${this.#term}`,
    );
  }

  get role(): Role {
    return this.#role;
  }

  get term(): Term {
    return this.#term;
  }

  get leader(): NodeId | undefined {
    return this.#leader;
  }

  get commitIndex(): LogIndex {
    return this.#log.commit;
  }

  get lastIndex(): LogIndex {
    return this.#log.lastIndex;
  }

  tick(): void {
    if (this.#leadership !== undefined) {
      this.#leadership.tick();
      if (this.#leadership.lostQuorum) this.#follow(this.#term, undefined);
      return;
    }
    this.#timer.tick();
    if (this.#timer.expired) this.campaign();
  }

  step(message: RaftMessage): void {
    if (message.to !== this.#config.id || !this.#others.includes(message.from)) return;
    if (message.term < this.#term) {
      this.#answerOld(message);
      return;
    }
    if (message.kind === "vote") {
      this.#onVoteRequest(message);
      return;
    }
    if (message.kind === "voteReply" && message.preVote && message.granted) {
      this.#onVoteReply(message);
      return;
    }
    if (message.term > this.#term) this.#follow(message.term, undefined);
    switch (message.kind) {
      case "voteReply":
        this.#onVoteReply(message);
        break;
      case "append":
        this.#hearLeader(message);
        this.#onAppend(message);
        break;
      case "heartbeat":
        this.#hearLeader(message);
        this.#onHeartbeat(message);
        break;
      case "appendReply":
        this.#leadership?.onAppendReply(message);
        break;
      case "heartbeatReply":
        this.#leadership?.onHeartbeatReply(message);
        break;
      case "timeoutNow":
        if (this.#leader === message.from) this.#stand(true);
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
    if (this.#role === "leader") return;
    this.#timer.redraw();
    if (this.#others.length === 0) this.#stand(false);
    else this.#ask();
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
      role: this.#role,
      term: this.#term,
      leader: this.#leader,
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

  /** Becomes, or stays, a follower in `term`, of `leader` if it is known. */
  #follow(term: Term, leader: NodeId | undefined): void {
    if (term > this.#term) {
      this.#term = term;
      this.#votedFor = undefined;
    }
    if (this.#leadership !== undefined) {
      this.#leadership = undefined;
      this.#reads.lose();
      this.#timer.redraw();
    }
    this.#role = "follower";
    this.#ballot = undefined;
    this.#leader = leader;
  }

  /**
   * Asks the others whether they would vote for this node (PreVote, thesis §9.6). Only a majority's yes lets it raise its
   * term: a node that is cut off can't come back with a higher one and unseat a leader that works.
   */
  #ask(): void {
    this.#role = "preCandidate";
    this.#leader = undefined;
    this.#ballot = new Ballot(this.#config.voters.length, this.#config.id);
    this.#requestVotes(true, false);
  }

  /** Stands for election in the next term (Raft §5.2). `transfer`: because the leader said so. */
  #stand(transfer: boolean): void {
    this.#role = "candidate";
    this.#leader = undefined;
    this.#term = nextTerm(this.#term);
    this.#votedFor = this.#config.id;
    this.#timer.redraw();
    // Its own vote is in the ballot from the start. It decides nothing before it is durable: the requests leave after
    // the sync, so every answer comes later; and what a single voter leads to (commits, reads) waits for the log write
    // that the vote is part of.
    this.#ballot = new Ballot(this.#config.voters.length, this.#config.id);
    if (this.#others.length === 0) this.#lead();
    else this.#requestVotes(false, transfer);
  }

  #requestVotes(preVote: boolean, transfer: boolean): void {
    for (const to of this.#others) {
      const request: VoteRequest = {
        kind: "vote",
        from: this.#config.id,
        to,
        term: preVote ? nextTerm(this.#term) : this.#term,
        preVote,
        lastIndex: this.#log.lastIndex,
        lastTerm: this.#log.lastTerm,
        transfer,
      };
      if (preVote) this.#outbox.now(request);
      else this.#outbox.afterSync(request);
    }
  }

  #lead(): void {
    this.#role = "leader";
    this.#ballot = undefined;
    this.#leader = this.#config.id;
    this.#leadership = new Leadership(this.#config, this.#others, this.#term, this.#log, this.#reads);
  }

  #onVoteRequest(request: VoteRequest): void {
    // A live leader is protected: who doesn't hear it must not unseat it (CheckQuorum, thesis §4.2.3). Silence rather
    // than a refusal, for this node's term says nothing about the asker's.
    if (request.term > this.#term && !request.transfer && this.#hearsLeader()) return;
    if (request.term > this.#term && !request.preVote) this.#follow(request.term, undefined);
    // A question is about a term that is still to come, in which this node has a free vote.
    const free =
      request.term > this.#term ||
      this.#votedFor === request.from ||
      (this.#votedFor === undefined && this.#leader === undefined);
    const granted = free && this.#log.isUpToDate(request.lastIndex, request.lastTerm);
    if (granted && !request.preVote) {
      this.#votedFor = request.from;
      this.#timer.restart();
    }
    this.#answerVote(request, granted);
  }

  #answerVote(request: VoteRequest, granted: boolean): void {
    this.#outbox.afterSync({
      kind: "voteReply",
      from: this.#config.id,
      to: request.from,
      // A yes to a question speaks of the term that was asked about; everything else of this node's own.
      term: granted ? request.term : this.#term,
      preVote: request.preVote,
      granted,
    });
  }

  #onVoteReply(reply: VoteReply): void {
    const awaited = reply.preVote ? "preCandidate" : "candidate";
    if (this.#role !== awaited || this.#ballot === undefined) return;
    // A yes to an earlier question, of a term that has come meanwhile, is none to this one.
    if (reply.preVote && reply.granted && reply.term !== this.#term + 1) return;
    this.#ballot.record(reply.from, reply.granted);
    const result = this.#ballot.result;
    if (result === "lost") this.#follow(this.#term, undefined);
    if (result !== "won") return;
    if (reply.preVote) this.#stand(false);
    else this.#lead();
  }

  #hearsLeader(): boolean {
    return this.#leadership !== undefined || (this.#leader !== undefined && this.#timer.fresh);
  }

  /** The sender leads this node's term. */
  #hearLeader(message: AppendRequest | Heartbeat): void {
    assert(
      this.#leadership === undefined,
      `raft: ${message.from} and ${this.#config.id} both lead term ${this.#term}`,
    );
    if (this.#role !== "follower" || this.#leader !== message.from) this.#follow(this.#term, message.from);
    this.#timer.restart();
  }

  #onAppend(request: AppendRequest): void {
    const matched = this.#log.accept(request);
    if (matched === undefined) this.#reject(request);
    else {
      this.#outbox.afterSync({
        kind: "appendReply",
        from: this.#config.id,
        to: request.from,
        term: this.#term,
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
      term: this.#term,
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
      term: this.#term,
      readRound,
    });
  }

  /** Tells the sender of an old term which one it is, so that it does not lead, or ask, in vain for ever. */
  #answerOld(message: RaftMessage): void {
    if (message.kind === "append") this.#reject(message);
    else if (message.kind === "heartbeat") this.#answerHeartbeat(message, 0);
    else if (message.kind === "vote") this.#answerVote(message, false);
  }

  #voteIsNew(): boolean {
    return this.#term !== this.#written.term || this.#votedFor !== this.#written.votedFor;
  }

  #takeHardState(): HardState | undefined {
    const commit = this.#log.commit;
    const lags = this.#log.hasTail && commit - this.#written.commit >= COMMIT_LAG_MAX;
    if (!lags && !this.#voteIsNew()) return undefined;
    this.#written = { term: this.#term, votedFor: this.#votedFor, commit };
    return this.#written;
  }
}
