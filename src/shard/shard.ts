/**
 * A group's replica on this node: its Raft core with everything around it that touches the world. The core says what is
 * to be done (Output); here it is done: entries go to the node's log store, messages to the network, committed entries to
 * the state machine, and the answers to whoever waits. `write-queue.ts` has the writes that wait, `read-queue.ts` the reads,
 * `log-writes.ts` what is on its way to the disk, `applied-state.ts` what was applied, and `installation.ts` a snapshot
 * that takes the place of it all.
 *
 * A shard never acts by itself. The host calls `advance` at the end of a turn of the event loop in which anything
 * happened to it, so everything that arrived in that turn shares one log entry, one read round and one message a peer.
 */

import { errorResponse } from "../../protocol/errors.ts";
import type { ReplySink } from "../../protocol/handler.ts";
import { type GroupId, type LogIndex, logIndex, type NodeId, type Term } from "../../protocol/ids.ts";
import type { GroupLogStatus, ReadRequest, ShardStatus, WriteRequest } from "../../protocol/messages.ts";
import type {
  AppendRequest,
  Configuration,
  Entry,
  GroupMessage,
  Heartbeat,
  SnapshotAck,
} from "../../protocol/peer-messages.ts";
import { assert } from "../lib/assert.ts";
import {
  isJoint,
  isMember,
  type Members,
  type Membership,
  sameNodes,
  stepTowards,
} from "../raft/configuration.ts";
import type { HardState, LogReader, Output, RaftCore } from "../raft/types.ts";
import { AppliedState } from "./applied-state.ts";
import type { GroupLog } from "./group-log.ts";
import { Installation } from "./installation.ts";
import { LogDamageError } from "./log-segment.ts";
import { LogWrites } from "./log-writes.ts";
import { ReadQueue, type WaitingRead } from "./read-queue.ts";
import { decodeMeta, type ShardMeta } from "./shard-meta.ts";
import type { ShardParts } from "./shard-parts.ts";
import type { ReadTime } from "./shard-reader.ts";
import { caughtUp, logStatus, shardStatus } from "./shard-status.ts";
import { SnapshotExchange } from "./snapshot-exchange.ts";
import { Staleness } from "./staleness.ts";
import type { Actual } from "./system-facts.ts";
import { notLeader, WriteQueue } from "./write-queue.ts";

export type { ShardLimits, ShardParts } from "./shard-parts.ts";

const NO_ENTRIES: readonly Entry[] = [];

export class Shard {
  readonly group: GroupId;
  readonly #parts: ShardParts;
  readonly #core: RaftCore;
  readonly #log: GroupLog;
  readonly #writes: WriteQueue;
  readonly #reads = new ReadQueue();
  #lostReadsUpTo = 0;
  /** Pauses of this machine after which leases were ended. */
  #pausesSeen = 0;
  /** Ticks since anything was asked of this group here. */
  #idleTicks = 0;
  readonly #logWrites = new LogWrites();
  /** Committed entries that wait to be applied. */
  #unapplied = NO_ENTRIES;
  readonly #state: AppliedState;
  readonly #staleness = new Staleness();
  readonly #exchange: SnapshotExchange;
  readonly #installation: Installation;
  /** One object for all reads. */
  readonly #readTime: ReadTime = { logMs: 0, clockMs: 0, heedsClock: false };

  private constructor(parts: ShardParts, core: RaftCore, meta: ShardMeta) {
    this.group = parts.group;
    this.#parts = parts;
    this.#core = core;
    this.#log = parts.logStore.group(parts.group);
    this.#state = new AppliedState(parts, meta);
    this.#writes = new WriteQueue(parts, core, this.#state);
    this.#exchange = new SnapshotExchange({
      ...{ ...parts, budget: parts.streams, sizes: parts.snapshots },
      head: () => this.#state.snapshotHead(this.#log.term(this.#state.index)!),
    });
    this.#installation = new Installation(parts, core, this.#exchange);
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
    const { applied, base } = known;
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
    return new Shard(parts, buildCore(log, log.hardState, applied, known.membership), known);
  }

  get leader(): NodeId | undefined {
    return this.#core.leader;
  }

  get term(): Term {
    return this.#core.term;
  }

  get isLeader(): boolean {
    return this.#core.role === "leader";
  }

  /** Whether writes are gathered that were not proposed yet. */
  get hasGatheredWrites(): boolean {
    return this.#writes.hasGathered;
  }

  get appliedIndex(): LogIndex {
    return this.#state.index;
  }

  /** The latest time of an applied entry, in milliseconds since the epoch. */
  get logTimeMs(): number {
    return this.#state.logTimeMs;
  }

  /** What has to be in the engine together with the data that was applied so far. Borrowed until the next such call. */
  metaForSeal(): Uint8Array {
    return this.#state.meta();
  }

  /** Proposes a write at the end of this turn. Only on the leader. */
  write(request: WriteRequest, sink: ReplySink, requestId: number, nowMs: number): void {
    const writes = this.#writes;
    if (writes.waiting >= this.#parts.limits.waitingRequestsMax) {
      this.#overloaded(sink, requestId);
      return;
    }
    writes.add(request, sink, requestId, nowMs);
    if (writes.isFull) this.#submitWrites();
    this.#parts.wake(this);
  }

  /**
   * Proposes a command of the group's own, or none, alone in its entry: which is that. `undefined`: it certainly comes to
   * nothing, since this node does not lead, or hands over.
   */
  proposeRaw(command: Uint8Array | undefined): LogIndex | undefined {
    this.#submitWrites();
    const index = this.#writes.proposeAlone(command);
    this.#idleTicks = 0;
    this.#parts.wake(this);
    return index;
  }

  /** Reads as of the latest acknowledged write, confirmed by a majority, or by a lease where the read says so. Only on the leader. */
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
    const age = this.isLeader ? 0 : this.#staleness.ageMs(nowMs);
    if (this.#core.quiescent && !this.isLeader) {
      // Nobody says how current this replica is. The next reader will know better.
      this.#core.wake();
      this.#parts.wake(this);
    }
    this.#parts.stats.read(0);
    const time = this.#timeOfRead(false);
    sink.reply(requestId, this.#parts.reader!.read(request, Math.min(age, Number.MAX_SAFE_INTEGER), time)!);
  }

  receive(message: GroupMessage): void {
    // The core's log has been replaced, the one on the disk not yet: to the core, what comes meanwhile is lost.
    if (this.#installation.isUnderWay) {
      this.#installation.answer(message);
      return;
    }
    if (this.isAsleep) this.#idleTicks = 0;
    this.#parts.wake(this);
    if (message.kind === "snapshotPart") {
      this.#installation.receive(message);
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
    if (this.isLeader) this.#lookForPause();
    if (!this.#installation.isUnderWay) this.#core.tick();
    this.#writes.expireGathered(expireBeforeMs);
    this.#writes.expireProposed(expireBeforeMs);
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

  /** Writes that wait here to be answered. */
  get waitingWrites(): number {
    return this.#writes.waiting;
  }

  /** Reads that wait here to be answered. */
  get waitingReads(): number {
    return this.#reads.waiting;
  }

  /** Whether requests wait here to be answered. */
  get hasWaiting(): boolean {
    return this.waitingWrites > 0 || this.waitingReads > 0;
  }

  /** Asleep, and with nothing left to do: it need not be ticked before it is woken. */
  get isAtRest(): boolean {
    return this.isAsleep && this.#isIdle && !this.#core.hasOutput && !this.#installation.isUnderWay;
  }

  get #isIdle(): boolean {
    return !this.hasWaiting && !this.#exchange.isSending;
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
    if (this.#installation.isUnderWay) {
      // A write of the old log that is under way could end up behind the mark that says where the new one begins.
      const waited = this.#logWrites.isFlushing ? undefined : this.#installation.end();
      if (waited === undefined) return;
      this.#logWrites.add(NO_ENTRIES);
      this.#handle(waited);
    }
    // Who does not lead any more says so at once, whatever its disk is doing.
    if (mayPropose || !this.isLeader) this.#submitWrites();
    this.#submitReads();
    // One Output a turn: what it leaves are committed entries, and they have to be applied before there are more in
    // memory. The next message or tick comes back for them.
    if (!this.#core.hasOutput) return;
    const output = this.#core.takeOutput();
    if (output.install === undefined) this.#handle(output);
    else {
      this.#writes.expireProposed(Number.POSITIVE_INFINITY);
      this.#installation.begin(output, this.#state, () => this.#parts.wake(this));
    }
    this.#installation.forget();
  }

  /** Applies what the last `advance` found committed, and answers the writes that this node proposed. */
  applyCommitted(): void {
    const committed = this.#unapplied;
    this.#unapplied = NO_ENTRIES;
    for (let i = 0; i < committed.length; i++) this.#apply(committed[i]!);
  }

  /** Answers the reads that can be answered now. What was applied must be visible in the engine. */
  serveReads(nowMs: number): void {
    for (;;) {
      const ready = this.#reads.takeReady(this.#state.index);
      if (ready === undefined) return;
      const late = this.#serve(ready.reads, !ready.hasWaited, nowMs);
      if (late === undefined) continue;
      this.#submitWrites();
      const index = this.#writes.proposeAlone(undefined);
      this.#idleTicks = 0;
      this.#parts.wake(this);
      if (index !== undefined) this.#reads.wait(late, index);
      else {
        // Whoever leads now, or is about to, gives the log its time. This one must not answer with what expired long ago.
        this.#parts.stats.errors += late.length;
        for (const { sink, requestId } of late) sink.reply(requestId, notLeader());
      }
    }
  }

  /**
   * Answers reads. Those that would find what has expired by the clock and not by the log are given back, if the clock is
   * to be heeded: an entry has to move the log's time first (`docs/decisions/log-time.md`).
   */
  #serve(
    reads: readonly WaitingRead[],
    heedsClock: boolean,
    nowMs: number,
  ): readonly WaitingRead[] | undefined {
    const { reader, stats } = this.#parts;
    const time = this.#timeOfRead(heedsClock);
    let late: WaitingRead[] | undefined;
    for (const read of reads) {
      const response = reader!.read(read.request, 0, time);
      if (response === undefined) {
        late ??= [];
        late.push(read);
      } else {
        stats.read(nowMs - read.startedMs);
        read.sink.reply(read.requestId, response);
      }
    }
    return late;
  }

  #timeOfRead(heedsClock: boolean): ReadTime {
    const time = this.#readTime;
    time.logMs = this.#state.logTimeMs;
    if (this.#state.mayExpire) {
      time.clockMs = this.#writes.timeMs;
      time.heedsClock = heedsClock && time.clockMs > time.logMs;
    } else {
      // Time changes nothing here, and it need not be asked for.
      time.clockMs = time.logMs;
      time.heedsClock = false;
    }
    return time;
  }

  /** The log store begins to flush: what was gathered so far is part of it. */
  flushStarted(): void {
    this.#logWrites.flushStarted();
  }

  /** What was gathered when the flush began is durable. */
  flushEnded(): void {
    const write = this.#logWrites.flushEnded();
    if (write === undefined) return;
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
    if (this.#installation.isUnderWay) return;
    const { replicas } = this.#core.status();
    if (this.isLeader) {
      let floor: LogIndex = this.#core.lastIndex;
      for (const replica of replicas) if (replica.matchIndex < floor) floor = replica.matchIndex;
      this.#writes.floor = floor;
      const oldest = this.#log.oldestSegment;
      // An idle group would keep old segments alive for ever: an empty entry tells all members what they may drop.
      const agreed = this.#state.floor;
      const heldBack = floor > agreed && flushedIndex > agreed;
      const tellsFloor = heldBack && oldest !== undefined && oldest.number < oldestSegmentMax;
      if ((tellsFloor || this.#writes.isTimeDue) && !this.#writes.hasGathered) {
        this.#writes.proposeAlone(undefined);
        this.#parts.wake(this);
      }
    }
    const served = this.#exchange.oldestNeeded(replicas);
    const needed = mayForget ? (served ?? this.#state.index) : this.#state.floor;
    const compactTo = logIndex(Math.min(flushedIndex, needed, this.#state.index));
    if (compactTo > this.#log.compacted.index) this.#parts.logStore.compact(this.group, compactTo);
  }

  /**
   * On a leader: goes a step towards what the group's members should be, if none is under way. True: that is not all, and it
   * should be called again soon.
   */
  followMembers(desired: Members): boolean {
    if (!this.isLeader || this.#installation.isUnderWay) return false;
    const { members } = this;
    const isThere =
      sameNodes(members.voters, desired.voters) && sameNodes(members.learners, desired.learners);
    if (isThere && !isJoint(members)) return false;
    // What is not done at once waits for answers, and who is asleep gets none.
    this.#core.wake();
    this.#idleTicks = 0;
    // Until a joint configuration is left there is no next step.
    if (isJoint(members)) return true;
    const next = stepTowards(members, desired, (node) => this.#core.mayVote(node));
    if (next === undefined || typeof this.#core.changeMembers(next) !== "number") return true;
    this.#parts.log.info("changes the members of a group", { group: this.group, ...next });
    this.#parts.wake(this);
    return true;
  }

  /** The latest members, committed or not. */
  get members(): Configuration {
    return this.#core.membership.configuration;
  }

  /** The entry that made the members what they are, committed or not; 0: what the group was founded with. */
  get membersIndex(): LogIndex {
    return this.#core.membership.index;
  }

  /** Whether this replica has applied what made it a member: before that it may have next to nothing, and not know that. */
  get isIntroduced(): boolean {
    return this.#state.index > 0 && isMember(this.#state.membership.configuration, this.#parts.self);
  }

  /** Whether `node` belongs to the group by its latest members, or by those that are applied. */
  hasMember(node: NodeId): boolean {
    return isMember(this.members, node) || isMember(this.#state.membership.configuration, node);
  }

  /**
   * On a leader: who the members are, if that is committed and no other change is under way. Others may rely on it: whoever is
   * not among them is needed no more.
   */
  get settledMembers(): Actual | undefined {
    const { index, configuration } = this.#core.membership;
    if (!this.isLeader || isJoint(configuration) || index > this.#state.index) return undefined;
    // A new leader knows nothing of what is committed before it has committed something itself.
    if (this.#log.term(this.#core.commitIndex) !== this.#core.term) return undefined;
    return { term: this.#core.term, index, ...configuration };
  }

  /**
   * Whether a group whose members are `actual`, this node not among them, can do without what this replica has. A change of
   * members that it knows of and that comes later may have made it a member again, unless the entry was never committed and
   * never will be: its term is an older one than that of who told.
   */
  isLeftBehindBy({ term, index: committed }: Actual): boolean {
    const { index } = this.#core.membership;
    if (this.#installation.isUnderWay || this.#logWrites.isFlushing) return false;
    if (index <= committed) return true;
    const own = this.#log.term(index);
    return index > this.#core.commitIndex && own !== undefined && own < term;
  }

  /** Answers who waits, and lets go of what it holds: the replica is not used any more. */
  close(): void {
    this.#writes.propose();
    this.#writes.expireProposed(Number.POSITIVE_INFINITY);
    this.#reads.submit(() => undefined, notLeader);
    this.#reads.expire(Number.POSITIVE_INFINITY);
    this.#exchange.stopSending();
  }

  /** What `cli log` shows, with the last `limit` entries. */
  describeLog(limit: number): Omit<GroupLogStatus, "node"> {
    // What the log store still has while a snapshot takes its place is not the group's any more.
    const log = this.#installation.isUnderWay ? undefined : this.#log;
    return logStatus(this.status(), this.#core, log, limit);
  }

  status(): ShardStatus {
    return shardStatus(this.group, this.#core.status(), this.#state.index);
  }

  /** Other members that have all of this leader's log and are heard from: leadership can move to them without a gap. */
  caughtUpMembers(): readonly NodeId[] {
    return caughtUp(this.#core.status());
  }

  #noteCommit({ term, commit }: AppendRequest | Heartbeat): void {
    if (term < this.#core.term) return;
    this.#staleness.heard(commit, this.#state.index, this.#parts.clock.nowMs());
  }

  #submitWrites(): void {
    if (!this.#writes.hasGathered) return;
    this.#idleTicks = 0;
    this.#writes.propose();
  }

  #submitReads(): void {
    if (!this.#reads.hasGathered) return;
    this.#idleTicks = 0;
    this.#lookForPause();
    // After the reads came, and after the look: an older time would make a lease seem to hold.
    const nowMs = this.#parts.clock.nowMs();
    this.#parts.stats.errors += this.#reads.submit(
      (byLease) => this.#core.readIndex(nowMs, byLease),
      notLeader,
    );
  }

  #lookForPause(): void {
    const pauses = this.#parts.pauses?.look() ?? 0;
    if (pauses === this.#pausesSeen) return;
    this.#pausesSeen = pauses;
    this.#core.endLease();
  }

  #handle(output: Output): void {
    const { logStore, send, stats } = this.#parts;
    if (output.hardState !== undefined || output.entries.length > 0) {
      logStore.append(this.group, output.hardState, output.entries);
      this.#logWrites.add(output.entries);
    }
    for (const message of output.messages) send(this.group, message);
    const { messagesAfterSync } = output;
    if (messagesAfterSync.length > 0 && !this.#logWrites.hold(messagesAfterSync)) {
      for (const message of messagesAfterSync) send(this.group, message);
    }
    // Here the engine has what is applied, and nothing else: the entries of this turn are not applied yet.
    for (const { to } of output.snapshots) this.#exchange.begin(to, this.#core.term);
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
    this.#state.apply(entry, this.#writes.applied(entry.index, entry.term));
    // No more entries come here: what became of later ones that this node proposed it will never know.
    if (entry.kind === "config" && !isMember(this.#state.membership.configuration, this.#parts.self)) {
      this.#writes.expireProposed(Number.POSITIVE_INFINITY);
    }
  }

  #acknowledged(ack: SnapshotAck): void {
    const end = this.#exchange.acknowledged(ack);
    if (end === "failed") this.#core.snapshotFailed(ack.from);
    else if (end !== undefined) this.#core.snapshotDone(ack.from, end);
  }

  #tickSenders(): void {
    if (!this.isLeader) {
      this.#exchange.stopSending();
      return;
    }
    const failed = this.#exchange.tick(this.#core.term, () => this.#core.status().replicas);
    for (const node of failed) this.#core.snapshotFailed(node);
  }

  #overloaded(sink: ReplySink, requestId: number): void {
    this.#parts.stats.errors++;
    sink.reply(
      requestId,
      errorResponse("OVERLOADED", "too many requests of this shard are waiting; try again later"),
    );
  }
}
