import { type LogIndex, type NodeId, nextTerm, type Term } from "../../protocol/ids.ts";
import type { VoteReply, VoteRequest } from "../../protocol/peer-messages.ts";
import { broken } from "../lib/assert.ts";
import { Ballot } from "./ballot.ts";
import { votersOf } from "./configuration.ts";
import { ElectionTimer } from "./election-timer.ts";
import type { RaftLog } from "./log.ts";
import type { Outbox } from "./outbox.ts";
import { type HardState, type LogFloor, NO_FLOOR, type RaftConfig, type Role } from "./types.ts";

/** How long, times its place in the row, each voter waits after a leader's connection broke: enough for an election. */
const SUCCESSION_TICKS = 2;

/**
 * Who leads, as far as this node knows: its term, its vote in it, its role, and the way from follower to leader (Raft
 * §5.1, §5.2, §5.4.1). Two rules are added to the paper's, and only together they keep a node that is half cut off from
 * unseating leaders for ever: PreVote, a question to the others before the term is raised (thesis §9.6), and the
 * protection of a leader that was heard within an election timeout (thesis §4.2.3). The same two make nodes harmless that
 * were removed and don't know it.
 *
 * Who votes is read from the log whenever it matters. Only voters stand, of the latest configuration or of one before it
 * that is not known to be replaced for good: a leader that died with the entry that removes it may be the only one whose
 * log is new enough to bring that entry to the others (§4.2.2). It does not count its own vote then. But whoever is asked
 * for a vote gives it, also to a stranger: the one who asks may know newer members than this node does (thesis §4.1).
 *
 * A replica may have been dropped from this node, and another one of the same group have come later. Its term and vote are
 * the old one's, and so is the last entry that it had, as a floor: this node votes, for itself too, as if it still had it.
 */
export class Election {
  readonly #id: NodeId;
  readonly #log: RaftLog;
  readonly #outbox: Outbox;
  readonly #timer: ElectionTimer;
  readonly #electionTicks: number;
  /** Leaders rely on this node's promise to help nobody else for an election timeout (`lease.ts`). */
  readonly #promises: boolean;
  /** How far the log of an earlier replica on this node went. */
  readonly #floor: LogFloor;

  #role: Role = "follower";
  #term: Term;
  #votedFor: NodeId | undefined;
  #leader: NodeId | undefined;
  /** Who led last, if its connection broke since: it is not expected to stand. */
  #suspect: NodeId | undefined;
  /** Ticks since a leader was heard, whichever. */
  #sinceLeader: number;
  /** While this node campaigns, or asks whether it should. */
  #ballot: Ballot | undefined;

  constructor(config: RaftConfig, log: RaftLog, outbox: Outbox, hardState: HardState) {
    this.#id = config.id;
    this.#electionTicks = config.electionTicks;
    this.#promises = config.lease > 0;
    this.#floor = config.floor ?? NO_FLOOR;
    // Before a crash it may have promised something just now. A group's first term has no leader before it.
    this.#sinceLeader = hardState.term === 0 ? config.electionTicks : 0;
    this.#log = log;
    this.#outbox = outbox;
    this.#timer = new ElectionTimer(config);
    this.#term = hardState.term;
    this.#votedFor = hardState.votedFor;
  }

  get role(): Role {
    return this.#role;
  }

  get term(): Term {
    return this.#term;
  }

  get votedFor(): NodeId | undefined {
    return this.#votedFor;
  }

  /** Who leads the term, this node perhaps. */
  get leader(): NodeId | undefined {
    return this.#leader;
  }

  /** One tick of a node that does not lead. */
  tick(): void {
    this.#timer.tick();
    this.#sinceLeader++;
    if (!this.#timer.expired) return;
    if (this.#log.isVoterOfAny(this.#id)) this.campaign();
    else this.#remind();
  }

  /**
   * A learner that hears nothing of its leader tells it that it is there: the leader may have fallen asleep without it. A
   * voter finds out by asking for votes.
   */
  #remind(): void {
    this.#timer.redraw();
    const { leader: to } = this;
    if (to === undefined) return;
    this.#outbox.now({ kind: "heartbeatReply", from: this.#id, to, term: this.#term, readRound: 0 });
  }

  /** Becomes, or stays, a follower in `term`, of a leader that is not known. */
  follow(term: Term): void {
    if (term > this.#term) {
      this.#term = term;
      this.#votedFor = undefined;
    }
    if (this.#role === "leader") this.#timer.redraw();
    this.#role = "follower";
    this.#ballot = undefined;
    this.#leader = undefined;
  }

  /** `leader` leads this node's term, and was heard just now. */
  hear(leader: NodeId): void {
    if (this.#role === "leader") broken(`raft: ${leader} and ${this.#id} both lead term ${this.#term}`);
    this.#role = "follower";
    this.#ballot = undefined;
    this.#leader = leader;
    this.#suspect = undefined;
    this.#timer.restart();
    this.#sinceLeader = 0;
  }

  /**
   * The connection to `node` broke. If it led, it has died, in all likelihood: this node no longer protects it, and asks
   * soon whether it should stand. The voters take turns, in a row that is another one in each term, so that they don't
   * split the vote. Where others promised to wait, so does this one.
   */
  suspect(node: NodeId): void {
    if (node !== this.#leader || this.#role === "leader" || this.#promises) return;
    this.#leader = undefined;
    this.#suspect = node;
    this.#queueUp();
  }

  #queueUp(): void {
    const { configuration } = this.#log.membership;
    const voters = votersOf(configuration).filter((voter) => voter !== this.#suspect);
    const at = voters.indexOf(this.#id);
    if (at >= 0) this.#timer.hurry(1 + SUCCESSION_TICKS * ((at + this.#term) % voters.length));
  }

  /** Asks the others for their votes, or takes the lead where there are no others. Only for a voter. */
  campaign(): void {
    if (this.#role === "leader" || !this.#mayStand() || this.#isBound()) return;
    if (this.#isAlone()) this.stand(false);
    else this.#ask();
  }

  /**
   * Asks the others whether they would vote for this node. Only a majority's yes lets it raise its term: a node that is
   * cut off can't come back with a higher one and unseat a leader that works.
   */
  #ask(): void {
    this.#timer.redraw();
    this.#role = "preCandidate";
    this.#leader = undefined;
    this.#ballot = new Ballot(this.#log.membership.configuration, this.#id);
    this.#requestVotes(true, false);
  }

  /** Stands for election in the next term. `transfer`: because the leader said so (thesis §3.10). */
  stand(transfer: boolean): void {
    if (!this.#mayStand()) return;
    this.#timer.redraw();
    this.#role = "candidate";
    this.#leader = undefined;
    this.#term = nextTerm(this.#term);
    this.#votedFor = this.#id;
    // Its own vote is in the ballot from the start. It decides nothing before it is durable: the requests leave after
    // the sync, so every answer comes later; and what a single voter leads to (commits, reads) waits for the log write
    // that the vote is part of.
    this.#ballot = new Ballot(this.#log.membership.configuration, this.#id);
    if (this.#ballot.result === "won") this.#win();
    else this.#requestVotes(false, transfer);
  }

  #requestVotes(preVote: boolean, transfer: boolean): void {
    for (const to of votersOf(this.#log.membership.configuration)) {
      if (to === this.#id) continue;
      const request: VoteRequest = {
        kind: "vote",
        from: this.#id,
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

  #win(): void {
    this.#role = "leader";
    this.#ballot = undefined;
    this.#leader = this.#id;
  }

  /** A request of this node's term or a later one. */
  onVoteRequest(request: VoteRequest): void {
    // Who does not hear a leader that lives must not unseat it. Silence rather than a refusal, for this node's term says
    // nothing about the asker's.
    if (!request.transfer && (request.term > this.#term ? this.#hearsLeader() : this.#isBound())) return;
    if (request.term > this.#term && !request.preVote) this.follow(request.term);
    // A question is about a term that is still to come, in which this node has a free vote.
    const free =
      request.term > this.#term ||
      this.#votedFor === request.from ||
      (this.#votedFor === undefined && this.#leader === undefined);
    const granted = free && this.#mayTrust(request);
    if (granted && !request.preVote) {
      this.#votedFor = request.from;
      this.#timer.restart();
    } else if (granted) this.#timer.defer(2 * SUCCESSION_TICKS);
    this.answer(request, granted);
  }

  /**
   * The candidate's log has everything that this node may have helped to commit (Raft §5.4.1), earlier replicas on it
   * included. A replica that never heard who the members are has nothing to say: whoever made it a voter made sure that it
   * knew.
   */
  #mayTrust({ lastIndex, lastTerm }: VoteRequest): boolean {
    const { membership } = this.#log;
    return (
      membership.configuration.voters.length > 0 &&
      this.#log.isUpToDate(lastIndex, lastTerm) &&
      this.#reachesFloor(lastIndex, lastTerm)
    );
  }

  #reachesFloor(lastIndex: LogIndex, lastTerm: Term): boolean {
    const { index, term } = this.#floor;
    return lastTerm > term || (lastTerm === term && lastIndex >= index);
  }

  /** Answers a request for a vote. */
  answer(request: VoteRequest, granted: boolean): void {
    this.#outbox.afterSync({
      kind: "voteReply",
      from: this.#id,
      to: request.from,
      // A yes to a question speaks of the term that was asked about; everything else of this node's own.
      term: granted ? request.term : this.#term,
      preVote: request.preVote,
      granted,
    });
  }

  /** An answer to this node's request, of its term, or to its question, of the next one where it is a yes. */
  onVoteReply(reply: VoteReply): void {
    const awaited = reply.preVote ? "preCandidate" : "candidate";
    if (this.#role !== awaited || this.#ballot === undefined) return;
    // A yes to an earlier question, of a term that has come meanwhile, is none to this one.
    if (reply.preVote && reply.granted && reply.term !== this.#term + 1) return;
    this.#ballot.record(reply.from, reply.granted);
    const result = this.#ballot.result;
    if (result === "lost") {
      this.follow(this.#term);
      // Somebody else has stood in this term. If it did not win either, they take turns rather than try their luck.
      if (!reply.preVote && !this.#promises) this.#queueUp();
    }
    if (result !== "won") return;
    if (reply.preVote) this.stand(false);
    else this.#win();
  }

  /** A leader was heard so recently that it may well be alive (thesis §4.2.3), or relies on it. */
  #hearsLeader(): boolean {
    if (this.#role === "leader") return true;
    return this.#isBound() || (this.#leader !== undefined && this.#sinceLeader < this.#electionTicks);
  }

  /** It promised not to help anybody into office yet, itself included. */
  #isBound(): boolean {
    return this.#promises && this.#sinceLeader < this.#electionTicks;
  }

  /** It is a voter, or will be one again if changes that are not committed are rolled back. */
  #mayStand(): boolean {
    const { lastIndex, lastTerm } = this.#log;
    return this.#log.isVoterOfAny(this.#id) && this.#reachesFloor(lastIndex, lastTerm);
  }

  #isAlone(): boolean {
    return new Ballot(this.#log.membership.configuration, this.#id).result === "won";
  }
}
