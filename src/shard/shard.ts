/**
 * A group's replica on this node: its Raft core with everything around it that touches the world. The core says what is
 * to be done (Output); here it is done: entries go to the node's log store, messages to the network, committed entries to
 * the state machine, and the answers to whoever waits.
 *
 * A shard never acts by itself. The host calls `advance` at the end of a turn of the event loop in which anything
 * happened to it, so everything that arrived in that turn shares one log entry, one read round and one message a peer.
 */

import { decodeConfiguration } from "../../protocol/configuration.ts";
import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import {
  type GroupId,
  INDEX_ZERO,
  indexPlus,
  type LogIndex,
  logIndex,
  type NodeId,
} from "../../protocol/ids.ts";
import type {
  ErrorResponse,
  GroupLogStatus,
  ReadRequest,
  ShardStatus,
  WriteRequest,
} from "../../protocol/messages.ts";
import type {
  AppendRequest,
  Configuration,
  Entry,
  GroupMessage,
  Heartbeat,
  SnapshotAck,
  SnapshotPart,
} from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";
import { isMember, type Members, type Membership, stepTowards } from "../raft/configuration.ts";
import type { HardState, LogReader, Output, RaftCore, SnapshotRequest } from "../raft/types.ts";
import { CommandBatch, CommandBatchReader } from "./command-batch.ts";
import type { GroupLog } from "./group-log.ts";
import { LogDamageError } from "./log-segment.ts";
import { Proposal, ProposalQueue } from "./proposals.ts";
import { ReadQueue } from "./read-queue.ts";
import { decodeMeta, encodeMeta, type ShardMeta } from "./shard-meta.ts";
import type { LogWrite, ShardParts } from "./shard-parts.ts";
import { shardStatus } from "./shard-status.ts";
import { SnapshotExchange } from "./snapshot-exchange.ts";
import type { WholeSnapshot } from "./snapshot-receiver.ts";

export type { ShardLimits, ShardParts } from "./shard-parts.ts";

const NO_ENTRIES: readonly Entry[] = [];

export class Shard {
  readonly group: GroupId;
  readonly #parts: ShardParts;
  readonly #core: RaftCore;
  readonly #log: GroupLog;
  readonly #batch: CommandBatch;
  readonly #batchReader = new CommandBatchReader();
  #gathering: Proposal | undefined;
  readonly #proposals = new ProposalQueue();
  readonly #reads = new ReadQueue();
  #lostReadsUpTo = 0;
  /** Ticks since anything was asked of this group here. */
  #idleTicks = 0;
  /** Committed entries that wait to be applied. */
  #unapplied = NO_ENTRIES;
  #appliedIndex: LogIndex;
  /** The latest time of an applied entry, in milliseconds since the epoch. */
  #logTimeMs = 0;
  /** The latest time that this node gave to an entry as leader. */
  #stampedMs = 0;
  /** Log writes since the last flush began, and those in the flush under way. */
  #gatheredWrite: LogWrite | undefined;
  #flushingWrite: LogWrite | undefined;
  /** What the leader last knew every member to have: told to all in the next entry. */
  #knownFloor: LogIndex = INDEX_ZERO;
  /** The highest floor that an applied entry told. */
  #agreedFloor: LogIndex = INDEX_ZERO;
  /** When this replica last had applied everything that its leader had told it was committed. */
  #currentAtMs = Number.NEGATIVE_INFINITY;
  #leaderCommit: LogIndex = INDEX_ZERO;
  /** The members as of what is applied. */
  #membership: Membership;
  /** Where the log began when the last snapshot took its place. */
  #base: ShardMeta["base"];
  readonly #exchange: SnapshotExchange;
  /** A snapshot that arrived; the core says whether it is installed. */
  #arrived: WholeSnapshot | undefined;
  /** An Output with a snapshot that is being made durable; until it is, nothing else of the group happens. */
  #installing: { readonly output: Output; isDurable: boolean } | undefined;

  private constructor(parts: ShardParts, core: RaftCore, meta: ShardMeta) {
    this.group = parts.group;
    this.#parts = parts;
    this.#core = core;
    this.#batch = new CommandBatch(parts.slab);
    this.#log = parts.logStore.group(parts.group);
    this.#appliedIndex = meta.applied;
    this.#logTimeMs = meta.logTimeMs;
    this.#agreedFloor = meta.floor;
    this.#membership = meta.membership;
    this.#base = meta.base;
    this.#exchange = new SnapshotExchange({ ...parts, slots: parts.streams });
  }

  /**
   * A shard as the node's disk has it: the log and hard state from the log store, and `meta`, what `metaForSeal` left in
   * the engine together with the data (`undefined` for a new group). `buildCore` makes its Raft core.
   */
  static recover(
    parts: ShardParts,
    meta: Uint8Array | undefined,
    buildCore: (log: LogReader, hardState: HardState, applied: LogIndex, members: Membership) => RaftCore,
  ): Shard {
    const log = parts.logStore.group(parts.group);
    const known = decodeMeta(meta, parts.founders);
    const { applied, base, dump } = known;
    // The engine had a snapshot, and the node died before its log began anew behind it.
    if (base.index > log.compacted.index && log.term(base.index) !== base.term) {
      parts.logStore.restart(parts.group, base.index, base.term);
    }
    // Nor was the term written then, perhaps. What it voted in that term it can't have told anybody.
    if (base.term > log.hardState.term) {
      const state = { term: base.term, votedFor: undefined, commit: base.index };
      parts.logStore.append(parts.group, state, []);
    }
    if (applied > log.lastIndex || applied < log.compacted.index) {
      throw new LogDamageError(
        `the Raft log of group ${parts.group} holds entries ${log.firstIndex} to ${log.lastIndex}, but the data was built from entries up to ${applied}: a part of the log is missing`,
      );
    }
    parts.space?.use(known.half);
    parts.space?.clearOther();
    const shard = new Shard(parts, buildCore(log, log.hardState, applied, known.membership), known);
    if (dump !== null) parts.machine.restore(dump);
    return shard;
  }

  get leader(): NodeId | undefined {
    return this.#core.leader;
  }

  get isLeader(): boolean {
    return this.#core.role === "leader";
  }

  /** Whether writes are gathered that were not proposed yet. */
  get hasGatheredWrites(): boolean {
    return this.#gathering !== undefined;
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** What has to be in the engine together with the data that was applied so far. Borrowed until the next such call. */
  metaForSeal(): Uint8Array {
    return encodeMeta({
      applied: this.#appliedIndex,
      logTimeMs: this.#logTimeMs,
      floor: this.#agreedFloor,
      dump: this.#parts.machine.dump(),
      half: this.#parts.space?.half ?? 0,
      membership: this.#membership,
      base: this.#base,
    });
  }

  /** Proposes a write at the end of this turn. Only on the leader. */
  write(request: WriteRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    const gathering = this.#gathering;
    if (this.#proposals.waiting + (gathering?.count ?? 0) >= this.#parts.limits.waitingRequestsMax) {
      this.#overloaded(sink, requestId);
      return;
    }
    this.#batch.add(request);
    if (gathering === undefined) this.#gathering = new Proposal(this.#parts.stats, nowMs);
    this.#gathering!.add(sink, requestId);
    if (this.#batch.byteLength >= this.#parts.limits.entryBytesMax) this.#submitWrites();
    this.#parts.wake(this);
  }

  /** Proposes a command of the group's own, alone in its entry; nobody waits for it. */
  proposeRaw(command: Uint8Array): void {
    this.#submitWrites();
    this.#batch.addRaw(command);
    this.#core.propose(this.#batch.take(this.#nextTimeMs(), this.#knownFloor));
    this.#idleTicks = 0;
    this.#parts.wake(this);
  }

  /** Reads as of the latest acknowledged write. Only on the leader. */
  read(request: ReadRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    if (this.#reads.waiting >= this.#parts.limits.waitingRequestsMax) {
      this.#overloaded(sink, requestId);
      return;
    }
    this.#reads.add({ request, sink, requestId, startedMs: nowMs });
    this.#parts.wake(this);
  }

  /** Reads whatever this replica has applied. */
  readStale(request: ReadRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    const age = this.isLeader ? 0 : nowMs - this.#currentAtMs;
    if (this.#core.quiescent && !this.isLeader) {
      // Nobody says how current this replica is. The next reader will know better.
      this.#core.wake();
      this.#parts.wake(this);
    }
    this.#parts.stats.read(0);
    sink.reply(requestId, this.#parts.reader!.read(request, Math.min(age, Number.MAX_SAFE_INTEGER)));
  }

  receive(message: GroupMessage): void {
    // The core's log has been replaced, the one on the disk not yet: to the core, what comes meanwhile is lost.
    if (this.#installing !== undefined) return;
    if (this.isAsleep) this.#idleTicks = 0;
    this.#parts.wake(this);
    if (message.kind === "snapshotPart") {
      this.#receivePart(message);
      return;
    }
    if (message.kind === "snapshotAck") {
      this.#acknowledged(message);
      return;
    }
    if (message.kind === "append" || message.kind === "heartbeat") this.#noteCommit(message);
    this.#core.step(message);
  }

  /**
   * An append came that this node can't keep now. To the leader it is lost, and will be sent again; but how much newer
   * the leader's state is than this replica's is known from it.
   */
  refuse(append: AppendRequest): void {
    this.#noteCommit(append);
  }

  tick(expireBeforeMs: number): void {
    if (this.#installing === undefined) this.#core.tick();
    this.#expireGathered(expireBeforeMs);
    this.#proposals.expire(expireBeforeMs);
    this.#parts.stats.errors += this.#reads.expire(expireBeforeMs);
    if (this.#exchange.isSending) this.#tickSenders();
    if (this.isLeader && ++this.#idleTicks >= this.#parts.limits.quiesceTicks && this.#isIdle) {
      this.#core.quiesce();
    }
    if (this.#core.hasOutput) this.#parts.wake(this);
  }

  /** Nothing happens here, and nobody says that the leader is alive. */
  get isAsleep(): boolean {
    return this.#core.quiescent;
  }

  get #isIdle(): boolean {
    const waits = this.#proposals.waiting > 0 || this.#reads.waiting > 0 || this.#gathering !== undefined;
    return !waits && !this.#exchange.isSending && !this.#core.quiescent;
  }

  campaign(): void {
    this.#core.campaign();
    this.#parts.wake(this);
  }

  transferLeadership(to: NodeId): void {
    this.#core.transferLeadership(to);
    this.#parts.wake(this);
  }

  unreachable(node: NodeId): void {
    this.#core.unreachable(node);
    this.#parts.wake(this);
  }

  connected(node: NodeId): void {
    if (this.isLeader) this.#core.wake();
    this.#idleTicks = 0;
    this.#exchange.connected(node);
  }

  /**
   * Does what others wait for: proposes, writes to the log store's record, sends. What was committed waits for
   * `applyCommitted`. Without `mayPropose` the writes that were gathered stay where they are, and more may join them.
   */
  advance(mayPropose: boolean): void {
    if (this.#installing !== undefined) {
      // A write of the old log that is under way could end up behind the mark that says where the new one begins.
      if (!this.#installing.isDurable || this.#flushingWrite !== undefined) return;
      this.#endInstall(this.#installing.output);
    }
    if (mayPropose) this.#submitWrites();
    this.#submitReads();
    // One Output a turn: what it leaves are committed entries, and they have to be applied before there are more in
    // memory. The next message or tick comes back for them.
    if (!this.#core.hasOutput) return;
    const output = this.#core.takeOutput();
    if (output.install !== undefined) this.#beginInstall(output);
    else this.#handle(output);
    if (this.#arrived === undefined) return;
    // It turned out not to be needed.
    this.#arrived = undefined;
    this.#parts.space?.clearOther();
  }

  /** Applies what the last `advance` found committed, and answers the writes that this node proposed. */
  applyCommitted(): void {
    const committed = this.#unapplied;
    this.#unapplied = NO_ENTRIES;
    for (let i = 0; i < committed.length; i++) this.#apply(committed[i]!);
  }

  /** Answers the reads that can be answered now. What was applied must be visible in the engine. */
  serveReads(nowMs: number): void {
    const { reader, stats } = this.#parts;
    for (;;) {
      const ready = this.#reads.takeReady(this.#appliedIndex);
      if (ready === undefined) return;
      for (const read of ready) {
        stats.read(nowMs - read.startedMs);
        read.sink.reply(read.requestId, reader!.read(read.request, 0));
      }
    }
  }

  /** The log store begins to flush: what was gathered so far is part of it. */
  flushStarted(): void {
    assert(
      this.#flushingWrite === undefined,
      `group ${this.group}: a second flush began before the first ended`,
    );
    this.#flushingWrite = this.#gatheredWrite;
    this.#gatheredWrite = undefined;
  }

  /** What was gathered when the flush began is durable. */
  flushEnded(): void {
    const write = this.#flushingWrite;
    if (write === undefined) return;
    this.#flushingWrite = undefined;
    if (write.lastTerm !== undefined) this.#core.persisted(write.lastIndex, write.lastTerm);
    for (const message of write.messages) this.#parts.send(this.group, message);
    this.#parts.wake(this);
  }

  /**
   * To be called about once a second. `flushedIndex`: up to where the engine has the effects of the log in its tables;
   * `oldestSegmentMax`: the log wants to get rid of segments before this one; `mayForget`: it is so large that members
   * that lack something will have to make do with a snapshot.
   */
  maintain(flushedIndex: LogIndex, oldestSegmentMax: number, mayForget: boolean): void {
    if (this.#installing !== undefined) return;
    const { replicas } = this.#core.status();
    if (this.isLeader) {
      let floor: LogIndex = this.#core.lastIndex;
      for (const replica of replicas) if (replica.matchIndex < floor) floor = replica.matchIndex;
      this.#knownFloor = floor;
      const oldest = this.#log.oldestSegment;
      // An idle group would keep old segments alive for ever: an empty entry tells all members what they may drop.
      const heldBack = floor > this.#agreedFloor && flushedIndex > this.#agreedFloor;
      if (heldBack && oldest !== undefined && oldest.number < oldestSegmentMax && this.#batch.isEmpty) {
        this.#core.propose(this.#batch.take(this.#nextTimeMs(), floor));
        this.#parts.wake(this);
      }
    }
    const served = this.#exchange.oldestNeeded(replicas);
    const needed = mayForget ? (served ?? this.#appliedIndex) : this.#agreedFloor;
    const compactTo = logIndex(Math.min(flushedIndex, needed, this.#appliedIndex));
    if (compactTo > this.#log.compacted.index) this.#parts.logStore.compact(this.group, compactTo);
  }

  /** On a leader: goes a step towards what the group's members should be, if none is under way. */
  followMembers(desired: Members): void {
    if (!this.isLeader || this.#installing !== undefined) return;
    const next = stepTowards(this.members, desired);
    if (next === undefined || typeof this.#core.changeMembers(next) !== "number") return;
    this.#parts.log.info("changes the members of a group", { group: this.group, ...next });
    this.#parts.wake(this);
  }

  /** The latest members, committed or not. */
  get members(): Configuration {
    return this.#core.membership.configuration;
  }

  /** Whether `node` belongs to the group by its latest members, or by those that are applied. */
  hasMember(node: NodeId): boolean {
    return isMember(this.members, node) || isMember(this.#membership.configuration, node);
  }

  /** What `cli log` shows, with the last `limit` entries. */
  describeLog(limit: number): Omit<GroupLogStatus, "node"> {
    // What the log store still has while a snapshot takes its place is not the group's any more.
    const isReplaced = this.#installing !== undefined;
    const end = indexPlus((isReplaced ? this.#core : this.#log).lastIndex, 1);
    const begin = isReplaced ? end : this.#log.firstIndex;
    return {
      ...this.status(),
      firstIndex: begin,
      membersIndex: this.#core.membership.index,
      entries: this.#log.describe(logIndex(Math.max(begin, end - limit)), end),
    };
  }

  status(): ShardStatus {
    return shardStatus(this.group, this.#core.status(), this.#appliedIndex);
  }

  /** Other members that have all of this leader's log and are heard from: leadership can move to them without a gap. */
  caughtUpMembers(): readonly NodeId[] {
    const status = this.#core.status();
    return status.replicas
      .filter((r) => r.votes && r.active && r.matchIndex >= status.commitIndex)
      .map((r) => r.node);
  }

  /** Gives up on writes that the log has not taken for so long: a full or a hanging disk. */
  #expireGathered(startedBeforeMs: number): void {
    const proposal = this.#gathering;
    if (proposal === undefined || proposal.startedMs >= startedBeforeMs) return;
    this.#gathering = undefined;
    this.#batch.clear();
    proposal.fail(
      errorResponse("UNAVAILABLE", "this node's disk did not take the write in time; nothing was done"),
    );
  }

  #noteCommit({ term, commit }: AppendRequest | Heartbeat): void {
    if (term < this.#core.term) return;
    if (commit > this.#leaderCommit) this.#leaderCommit = commit;
    if (this.#appliedIndex >= this.#leaderCommit) this.#currentAtMs = this.#parts.clock.nowMs();
  }

  #submitWrites(): void {
    const proposal = this.#gathering;
    if (proposal === undefined) return;
    this.#gathering = undefined;
    this.#idleTicks = 0;
    const index = this.#core.propose(this.#batch.take(this.#nextTimeMs(), this.#knownFloor));
    if (index === undefined) {
      proposal.fail(this.#notLeader());
      return;
    }
    proposal.index = index;
    proposal.term = this.#core.term;
    this.#proposals.push(proposal);
  }

  #submitReads(): void {
    if (!this.#reads.hasGathered) return;
    this.#idleTicks = 0;
    const round = this.#core.readIndex();
    if (round !== undefined) this.#reads.submitted(round);
    else this.#parts.stats.errors += this.#reads.refuseGathered(this.#notLeader());
  }

  #handle(output: Output): void {
    const { logStore, send, stats } = this.#parts;
    if (output.hardState !== undefined || output.entries.length > 0) {
      logStore.append(this.group, output.hardState, output.entries);
      this.#gatheredWrite ??= { lastIndex: INDEX_ZERO, lastTerm: undefined, messages: [] };
      const last = output.entries.at(-1);
      if (last !== undefined) {
        this.#gatheredWrite.lastIndex = last.index;
        this.#gatheredWrite.lastTerm = last.term;
      }
    }
    for (const message of output.messages) send(this.group, message);
    if (output.messagesAfterSync.length > 0) {
      const write = this.#gatheredWrite ?? this.#flushingWrite;
      if (write !== undefined) write.messages.push(...output.messagesAfterSync);
      else for (const message of output.messagesAfterSync) send(this.group, message);
    }
    for (const request of output.snapshots) this.#sendSnapshot(request);
    assert(this.#unapplied.length === 0, `group ${this.group}: a second Output before the first was applied`);
    this.#unapplied = output.committed;
    // Before the lost ones are looked for: what was granted was granted, though leadership is gone since.
    for (const { round, index } of output.reads) this.#reads.granted(round, index);
    if (output.lostReadsUpTo > this.#lostReadsUpTo) {
      this.#lostReadsUpTo = output.lostReadsUpTo;
      stats.errors += this.#reads.lost(output.lostReadsUpTo);
    }
  }

  #apply(entry: Entry): void {
    assert(
      entry.index === this.#appliedIndex + 1,
      `group ${this.group}: entry ${entry.index} follows ${this.#appliedIndex}`,
    );
    const proposal = this.#proposals.applied(entry.index, entry.term);
    if (entry.kind === "commands") {
      const reader = this.#batchReader;
      reader.open(entry.data);
      // A new leader's clock may be behind the old one's, whose last entries it had not applied when it gave out times.
      this.#logTimeMs = Math.max(this.#logTimeMs, reader.timeMs);
      reader.timeMs = this.#logTimeMs;
      if (reader.floor > this.#agreedFloor) this.#agreedFloor = reader.floor;
      proposal?.beginAnswers(this.#parts.clock.nowMs());
      this.#parts.machine.apply(reader, proposal);
    } else if (entry.kind === "config") {
      this.#membership = { index: entry.index, configuration: decodeConfiguration(entry.data) };
      // No more entries come here: what became of later ones that this node proposed it will never know.
      if (!isMember(this.#membership.configuration, this.#parts.self)) {
        this.#proposals.expire(Number.POSITIVE_INFINITY);
      }
    }
    this.#appliedIndex = entry.index;
  }

  #sendSnapshot({ to }: SnapshotRequest): void {
    const index = this.#appliedIndex;
    // Here the engine has what is applied, and nothing else: the entries of this turn are not applied yet.
    const begun = this.#exchange.begin(to, this.#core.term, {
      ...{ index, term: this.#log.term(index)!, membership: this.#membership },
      ...{ logTimeMs: this.#logTimeMs, floor: this.#agreedFloor, dump: this.#parts.machine.dump() },
    });
    if (begun) this.#parts.log.info("sends a snapshot", { group: this.group, to, index });
    else this.#core.snapshotFailed(to);
  }

  #acknowledged(ack: SnapshotAck): void {
    const end = this.#exchange.acknowledged(ack);
    if (end === "failed") this.#core.snapshotFailed(ack.from);
    else if (end !== undefined) this.#core.snapshotDone(ack.from, end);
  }

  #tickSenders(): void {
    if (!this.isLeader) this.#exchange.stopSending();
    else for (const node of this.#exchange.tick()) this.#core.snapshotFailed(node);
  }

  #receivePart(part: SnapshotPart): void {
    if (this.#arrived !== undefined) return;
    if (part.term < this.#core.term) {
      this.#exchange.refuse(part);
      return;
    }
    const whole = this.#exchange.receive(part);
    if (whole === undefined) return;
    this.#arrived = whole;
    const { index, term: lastTerm, membership } = whole.head;
    this.#core.snapshotReceived({ from: whole.from, term: whole.leaderTerm, index, lastTerm, membership });
  }

  /**
   * Changes over to the snapshot that arrived. From here on it is what this replica is; but until the engine has it in
   * tables, with its applied index, a crash would bring the old state back, and nobody may hear of the new one.
   */
  #beginInstall(output: Output): void {
    const { parts, head } = { parts: this.#parts, head: this.#arrived!.head };
    this.#arrived = undefined;
    assert(head.index === output.install!.index, `group ${this.group}: the core installs another snapshot`);
    this.#proposals.expire(Number.POSITIVE_INFINITY);
    parts.space?.changeOver();
    this.#appliedIndex = head.index;
    this.#logTimeMs = Math.max(this.#logTimeMs, head.logTimeMs);
    this.#agreedFloor = head.floor;
    this.#membership = head.membership;
    this.#base = { index: head.index, term: head.term };
    parts.machine.restore(head.dump);
    const installing = { output, isDurable: false };
    this.#installing = installing;
    parts.flushEngine().then(() => {
      installing.isDurable = true;
      parts.log.info("installed a snapshot", { group: this.group, index: head.index });
      parts.wake(this);
    }, parts.fail);
  }

  /** The engine has the snapshot: the log begins behind it, and what waited for it goes on. */
  #endInstall(output: Output): void {
    const { logStore, space } = this.#parts;
    this.#installing = undefined;
    logStore.restart(this.group, output.install!.index, output.install!.term);
    this.#gatheredWrite ??= { lastIndex: INDEX_ZERO, lastTerm: undefined, messages: [] };
    space?.clearOther();
    this.#handle(output);
  }

  /** The time for a new entry: the wall clock's, unless that went back. */
  #nextTimeMs(): number {
    this.#stampedMs = Math.max(this.#stampedMs, this.#logTimeMs, Math.floor(this.#parts.clock.wallMs()));
    return this.#stampedMs;
  }

  #overloaded(sink: ReplySink, requestId: number): void {
    this.#parts.stats.errors++;
    sink.reply(
      requestId,
      errorResponse("OVERLOADED", "too many requests of this shard are waiting; try again later"),
    );
  }

  #notLeader(): ErrorResponse {
    return errorResponse("NOT_LEADER", "this node does not lead the shard any more; nothing was done");
  }
}
