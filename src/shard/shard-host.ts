/**
 * All groups that a node holds a replica of, and the loop that drives them. What arrives during a turn of the event loop
 * only marks shards as awake; at the end of the turn they advance together. Their messages leave in one frame a peer,
 * their log entries in one write and one fdatasync, and what was committed is applied to the engine in one batch.
 */
import { type GroupId, groupOfShard, type NodeId, type ShardId, SYSTEM_GROUP } from "../../protocol/ids.ts";
import type { QueueStatus } from "../../protocol/messages.ts";
import type { GroupMessage } from "../../protocol/peer-messages.ts";
import type { PeerListener, PeerNetwork } from "../../protocol/peer-network.ts";
import type { Env, Timer } from "../env/env.ts";
import { assert } from "../lib/assert.ts";
import type { Members } from "../raft/configuration.ts";
import type { Engine } from "../storage/engine.ts";
import type { ApplyBuffer } from "./apply-buffer.ts";
import { DiskPace } from "./disk-pace.ts";
import { LeaderPlan, type LeaderPreference } from "./leader-plan.ts";
import { isDiskFull, type LogStore } from "./log-store.ts";
import { ReplicaRemovals } from "./replica-removals.ts";
import type { RequestStats } from "./request-stats.ts";
import type { SealTracker } from "./seal-tracker.ts";
import type { Shard } from "./shard.ts";

export interface HostTimings {
  readonly tickMs: number;
  /** A leader that was not heard for so long is dead to the groups of it that are asleep. */
  readonly silentLeaderMs: number;
  /** A request that was not answered for this long is answered with an error. */
  readonly requestTimeoutMs: number;
  /** How often logs are compacted, leaders balanced and the system group's chores done. */
  readonly maintenanceMs: number;
  /** A full disk is tried again this often. */
  readonly diskFullRetryMs: number;
  /** Most time that handing leadership over may take at shutdown. */
  readonly handoverMs: number;
  /** How long after a majority was connected a new cluster's preferred leaders campaign. */
  readonly settleMs: number;
  /** When the disk counts as slow, and as well again (`PaceLimits`). */
  readonly slowSyncMs: number;
  readonly calmMs: number;
}

export interface HostParts {
  readonly env: Pick<Env, "clock" | "log">;
  readonly self: NodeId;
  /** Who the members of a group should be; `undefined` while nobody has said so. */
  readonly desiredMembers: (group: GroupId) => Members | undefined;
  readonly leaderPreference: LeaderPreference;
  /** Whether this node may vote, acknowledge and stand yet. Once it may, it may for ever. */
  readonly mayTakePart: () => boolean;
  readonly timings: HostTimings;
  readonly engine: Engine;
  readonly buffer: ApplyBuffer;
  readonly logStore: LogStore;
  readonly seals: SealTracker;
  readonly stats: RequestStats;
  /** What members that lack something may keep of the log; beyond it they will need a snapshot. */
  readonly logBytesMax: number;
  /** Requests of a shard that may wait, as its limits say. */
  readonly waitingRequestsMax: number;
  readonly network: PeerNetwork;
  /** The log can't be trusted any more, or an invariant is broken: the node must stop at once. */
  readonly onFatal: (error: Error) => void;
  /** Called with each tick. */
  readonly onTick: () => void;
  /** Called once in `maintenanceMs` and when the system group's leadership may have changed. */
  readonly onMaintenance: () => void;
}

const NOBODY: readonly NodeId[] = [];

/** Log entries of all shards that may wait in memory for the flush under way to end. */
const GATHERED_BYTES_MAX = 64 * 1024 * 1024;

export class ShardHost implements Omit<PeerListener, "reported"> {
  readonly #parts: HostParts;
  readonly #groups = new Map<GroupId, Shard>();
  /** The same in order: the system group first. */
  #shards: Shard[] = [];
  /** Groups that this node leads and whose members are not yet who they should be: they go a step when they can. */
  readonly #changing = new Set<Shard>();
  readonly #removals: ReplicaRemovals;
  /** Replicas that are ticked: all but those at rest. */
  readonly #active = new Set<Shard>();
  /** Replicas at rest, by the leader that they rely on, which is this node perhaps. */
  readonly #resting = new Map<NodeId, Set<Shard>>();
  #awake = new Set<Shard>();
  /** The other set, that of the turn that is being ended. */
  #applying = new Set<Shard>();
  #turnScheduled = false;
  /** Shards that advanced since the last flush began, and those of the flush under way. */
  #gathered = new Set<Shard>();
  #flushing: Set<Shard> | undefined;
  /** Shards whose writes wait for the flush under way. */
  readonly #waitingToPropose = new Set<Shard>();
  #diskFull: string | undefined;
  readonly #pace: DiskPace;
  /** Other nodes that say that they would rather not lead. */
  readonly #decliningNodes = new Set<NodeId>();
  readonly #plan: LeaderPlan;
  /** This node is about to stop. */
  #isLeaving = false;
  #timers: Timer[] = [];
  #lastMaintenanceMs = 0;
  #stopped = false;

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.#pace = new DiskPace(parts.timings, parts.timings.tickMs);
    this.#plan = new LeaderPlan(parts.self, parts.timings.settleMs, parts.leaderPreference);
    const { engine, logStore } = parts;
    this.#removals = new ReplicaRemovals({ engine, logStore, fail: (error) => this.#fail(error) });
  }

  /** Begins to drive the replicas that were added, and those that will be. */
  start(): void {
    for (const group of this.#parts.logStore.known) {
      if (this.#parts.logStore.group(group).mustClear) this.#removals.resume(group);
    }
    this.#scheduleTick();
  }

  /** Takes a replica, of a group that has none here (`canTake`). */
  add(shard: Shard): void {
    assert(this.canTake(shard.group), `group ${shard.group} has a replica here`);
    this.#groups.set(shard.group, shard);
    // In its place: sorting them all, for each of a thousand that are added at a start, leaves tens of megabytes of garbage.
    const at = this.#shards.findLastIndex(({ group }) => group < shard.group) + 1;
    this.#shards.splice(at, 0, shard);
    this.#active.add(shard);
    this.#parts.seals.attach(shard);
    // A new replica's group may live in an earlier time than those that were here: nothing that comes may count as expired.
    if (shard.group !== SYSTEM_GROUP) this.#parts.engine.rewindTime(shard.logTimeMs);
    this.#plan.added(shard, this.#parts.env.clock.nowMs());
    this.wake(shard);
  }

  /** Whether there is no replica of the group, nor anything left of a former one. */
  canTake(group: GroupId): boolean {
    return !this.#groups.has(group) && !this.#removals.isUnderWay(group);
  }

  /**
   * Destroys a replica that its group can do without (`Shard.isLeftBehindBy`), with its data and its log. To be called
   * between turns.
   */
  remove(shard: Shard): void {
    shard.close();
    this.#groups.delete(shard.group);
    this.#shards = this.#shards.filter((other) => other !== shard);
    this.#rouse(shard);
    for (const set of [this.#active, this.#changing, this.#awake, this.#gathered, this.#waitingToPropose]) {
      set.delete(shard);
    }
    this.#flushing?.delete(shard);
    this.#parts.seals.detach(shard);
    this.#plan.removed(shard);
    this.#removals.begin(shard.group);
  }

  /** The replicas that are here, the system group's first. */
  get shards(): readonly Shard[] {
    return this.#shards;
  }

  /** Those that are not at rest, in any order. */
  get active(): Iterable<Shard> {
    return this.#active;
  }

  /** This node's replica of a group, if it has one. */
  group(group: GroupId): Shard | undefined {
    return this.#groups.get(group);
  }

  shard(shard: ShardId): Shard | undefined {
    return this.#groups.get(groupOfShard(shard));
  }

  get systemShard(): Shard {
    return this.#groups.get(SYSTEM_GROUP)!;
  }

  /** Why this node takes no writes now, or `undefined`. */
  get readOnlyReason(): string | undefined {
    return this.#diskFull ?? this.#parts.engine.readOnlyReason;
  }

  /** Whether this node would rather not lead, which it tells the others: its disk is slow, or it is about to stop. */
  get declinesToLead(): boolean {
    return this.#pace.isSlow || this.#isLeaving;
  }

  /** What the log's syncs took, whether that is too long to lead, and how often it was. */
  get diskPace(): Pick<DiskPace, "isSlow" | "spells" | "syncMs"> {
    return this.#pace;
  }

  /** `node` says whether it would rather not lead: nothing is handed to it then. */
  heardWhetherDeclines(node: NodeId, declines: boolean): void {
    if (declines) this.#decliningNodes.add(node);
    else if (this.#decliningNodes.size > 0) this.#decliningNodes.delete(node);
  }

  /** Whether the disk is so far behind, with the log or with the engine's background work, that no more may be accepted. */
  get isOverwhelmed(): boolean {
    const { engine, logStore } = this.#parts;
    return engine.pressure === "stop" || logStore.gatheredBytes >= GATHERED_BYTES_MAX;
  }

  /** Writes and reads of a shard that wait for a majority, and what of the log is not on its way to the disk yet. */
  get queues(): readonly QueueStatus[] {
    const { waitingRequestsMax: max, logStore } = this.#parts;
    let [writes, reads] = [0, 0];
    for (const shard of this.#shards) {
      writes = Math.max(writes, shard.waitingWrites);
      reads = Math.max(reads, shard.waitingReads);
    }
    return [
      { name: "waitingWrites", unit: "requests", used: writes, max },
      { name: "waitingReads", unit: "requests", used: reads, max },
      { name: "unsyncedLog", unit: "bytes", used: logStore.gatheredBytes, max: GATHERED_BYTES_MAX },
    ];
  }

  wake(shard: Shard): void {
    // A former replica's work may come to its end late.
    if (this.#groups.get(shard.group) !== shard) return;
    this.#awake.add(shard);
    if (this.#turnScheduled || this.#stopped) return;
    this.#turnScheduled = true;
    this.#parts.env.clock.endOfTurn(() => this.#guard(() => this.#endTurn()));
  }

  received(group: GroupId, message: GroupMessage): void {
    const shard = this.#groups.get(group);
    if (shard === undefined || this.#stopped || !this.#parts.mayTakePart()) return;
    // A log on a full disk can keep nothing new, and a disk that is behind must not be given more than it gets rid of.
    const isFull = this.#diskFull !== undefined || this.isOverwhelmed;
    if (isFull && message.kind === "append" && message.entries.length > 0) shard.refuse(message);
    else shard.receive(message);
  }

  /** This node shall go on to lead the group: leaders are not spread at once again. */
  hold(shard: Shard): void {
    this.#plan.hold(shard, this.#parts.env.clock.nowMs());
  }

  connected(node: NodeId): void {
    this.#plan.connected(node, this.#parts.env.clock.nowMs());
    // It may have been away, and not know who leads what.
    for (const shard of this.#shards) {
      this.#rouse(shard);
      shard.connected(node);
    }
  }

  disconnected(node: NodeId): void {
    this.#plan.disconnected(node);
    this.#decliningNodes.delete(node);
    for (const shard of this.#shards) shard.unreachable(node);
  }

  /**
   * Hands leadership over where somebody can take it, for good: this node is about to stop. Resolves when that is done and
   * what it proposed as leader is answered, or when the time for it is over.
   */
  async handOver(): Promise<void> {
    const { clock } = this.#parts.env;
    const deadline = clock.nowMs() + this.#parts.timings.handoverMs;
    this.#isLeaving = true;
    for (;;) {
      const isDone = this.#giveAway() === 0 && !this.#shards.some((it) => !it.isLeader && it.hasWaiting);
      if (isDone || clock.nowMs() > deadline) return;
      await new Promise<void>((resolve) => clock.timer(this.#parts.timings.tickMs, resolve));
    }
  }

  /** Stops driving; resolves when the flush under way has ended. Nothing is answered any more. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#stopped = true;
    while (this.#flushing !== undefined && this.#diskFull === undefined) {
      await new Promise<void>((resolve) => this.#parts.env.clock.timer(1, resolve));
    }
  }

  /** Begins to hand over what this node leads and somebody else can take. How many shards that are. */
  #giveAway(): number {
    let count = 0;
    for (const shard of this.#shards) {
      const caughtUp = shard.isLeader ? shard.caughtUpMembers() : NOBODY;
      const able = caughtUp.filter((node) => !this.#decliningNodes.has(node));
      if (able.length === 0) continue;
      count++;
      // Always the same one of them: whoever was told already may be campaigning.
      shard.transferLeadership(able[shard.group % able.length]!);
    }
    return count;
  }

  #endTurn(): void {
    this.#turnScheduled = false;
    if (this.#stopped) return;
    const { buffer, engine, network, env } = this.#parts;
    const advanced = this.#awake;
    this.#awake = this.#applying;
    this.#applying = advanced;
    for (const shard of advanced) {
      this.#rouse(shard);
      // While the log is being synced, writes wait: the entries that they make are fewer and larger for it, and could
      // not be acknowledged before the next sync anyway.
      shard.advance(this.#flushing === undefined);
      this.#gathered.add(shard);
      if (shard.hasGatheredWrites) this.#waitingToPropose.add(shard);
    }
    // Others wait for what is sent, and the disk takes its time: both are under way while this node applies.
    network.flush();
    this.#flush();
    for (const shard of advanced) shard.applyCommitted();
    buffer.commit();
    const nowMs = env.clock.nowMs();
    for (const shard of advanced) shard.serveReads(nowMs);
    advanced.clear();
    // Here, and only here, what is in the memtable and what the groups say they have applied are the same.
    engine.sealIfFull();
  }

  #flush(): void {
    if (this.#flushing !== undefined || !this.#parts.logStore.hasGathered) return;
    this.#flushing = this.#gathered;
    this.#gathered = new Set();
    for (const shard of this.#flushing) shard.flushStarted();
    this.#removals.flushStarted();
    this.#tryFlush();
  }

  #tryFlush(): void {
    this.#pace.syncBegan(this.#parts.env.clock.nowMs());
    this.#parts.logStore.flush().then(
      () => this.#guard(() => this.#flushEnded()),
      (error: Error) => this.#guard(() => this.#flushFailed(error)),
    );
  }

  #flushEnded(): void {
    if (this.#diskFull !== undefined) {
      this.#diskFull = undefined;
      this.#parts.env.log.info("the disk takes writes again: this node serves writes again");
    }
    this.#pace.syncEnded(this.#parts.env.clock.nowMs());
    const flushed = this.#flushing!;
    this.#flushing = undefined;
    for (const shard of flushed) shard.flushEnded();
    this.#removals.flushEnded();
    for (const shard of this.#waitingToPropose) this.wake(shard);
    this.#waitingToPropose.clear();
  }

  #flushFailed(error: Error): void {
    if (!isDiskFull(error)) throw error;
    this.#pace.syncFailed();
    if (this.#diskFull === undefined) {
      this.#diskFull = "the disk that holds the Raft log is full";
      this.#parts.env.log.error(`${this.#diskFull}: this node refuses writes until there is space`, {
        error,
      });
      this.#giveAway();
    }
    this.#timer(this.#parts.timings.diskFullRetryMs, () => this.#tryFlush());
  }

  #scheduleTick(): void {
    this.#timer(this.#parts.timings.tickMs, () => {
      this.#tick();
      this.#scheduleTick();
    });
  }

  #tick(): void {
    const nowMs = this.#parts.env.clock.nowMs();
    const expireBeforeMs = nowMs - this.#parts.timings.requestTimeoutMs;
    const mayTakePart = this.#parts.mayTakePart();
    for (const shard of this.#active) {
      if (mayTakePart) shard.tick(expireBeforeMs);
      if (shard.isAtRest) this.#rest(shard);
      else if (shard.isAsleep && this.#isSilent(shard.leader)) shard.unreachable(shard.leader!);
    }
    for (const [leader, shards] of this.#resting) {
      // Who is asked about is pinged for it: nobody asks about a node that no group at rest relies on.
      if (shards.size > 0 && this.#isSilent(leader)) for (const shard of shards) shard.unreachable(leader);
    }
    this.#parts.stats.tick(nowMs);
    if (this.#pace.tick(nowMs)) this.#paceChanged();
    for (const shard of this.#changing) this.#followMembersOf(shard);
    if (mayTakePart) for (const shard of this.#plan.toCampaign(nowMs)) shard.campaign();
    this.#parts.onTick();
    if (nowMs - this.#lastMaintenanceMs < this.#parts.timings.maintenanceMs) return;
    this.#lastMaintenanceMs = nowMs;
    this.#maintain(nowMs);
  }

  #paceChanged(): void {
    const { log } = this.#parts.env;
    if (!this.#pace.isSlow) {
      log.info("the disk is quick again: this node may lead again");
      return;
    }
    const { syncMs, spells } = this.#pace;
    log.warn("the disk is slow: this node hands over what it leads", { syncMs, spells });
    this.#giveAway();
  }

  /** Groups that are asleep rely on this: they hear of their leader's death by nobody else. */
  #isSilent(leader: NodeId | undefined): boolean {
    const { network, self, timings } = this.#parts;
    if (leader === undefined || leader === self) return false;
    return network.silentMs(leader) >= timings.silentLeaderMs;
  }

  /** The replica is not ticked any more: a thousand that sleep must not be looked at twenty times a second. */
  #rest(shard: Shard): void {
    this.#active.delete(shard);
    const leader = shard.leader ?? this.#parts.self;
    const others = this.#resting.get(leader);
    if (others === undefined) this.#resting.set(leader, new Set([shard]));
    else others.add(shard);
  }

  /** Something happens in the replica: it is ticked again, if it was not. */
  #rouse(shard: Shard): void {
    if (this.#active.has(shard)) return;
    this.#active.add(shard);
    for (const others of this.#resting.values()) if (others.delete(shard)) return;
  }

  #maintain(nowMs: number): void {
    const { logStore, seals, engine } = this.#parts;
    engine.advanceTime(seals.flushedTimeMs);
    const oldestWanted = logStore.oldestWanted;
    const mayForget = logStore.byteLength > this.#parts.logBytesMax;
    for (const shard of this.#shards) {
      shard.maintain(seals.flushedIndex(shard.group), oldestWanted, mayForget);
    }
    this.followMembers();
    if (this.#diskFull !== undefined || this.declinesToLead) this.#giveAway();
    else this.#spreadLeaders(nowMs);
    this.#parts.onMaintenance();
    // Compaction marks wait in the log store: they leave with the next flush, or with one of their own.
    this.#flush();
    logStore.noteEnd().catch((error: Error) => {
      if (this.#stopped) return;
      this.#stopped = true;
      this.#parts.onFatal(error);
    });
  }

  /** The groups that this node leads should have other members than before, perhaps. */
  followMembers(): void {
    this.#changing.clear();
    for (const shard of this.#shards) this.#followMembersOf(shard);
  }

  #followMembersOf(shard: Shard): void {
    const desired = shard.isLeader ? this.#parts.desiredMembers(shard.group) : undefined;
    if (desired === undefined || !shard.followMembers(desired)) {
      this.#changing.delete(shard);
      return;
    }
    this.#changing.add(shard);
    // It may have been asleep, and what is to be done wait for answers to its heartbeats.
    this.#rouse(shard);
  }

  #spreadLeaders(nowMs: number): void {
    for (const { shard, to } of this.#plan.toTransfer(this.#shards, nowMs)) {
      if (!this.#decliningNodes.has(to)) shard.transferLeadership(to);
    }
  }

  #timer(delayMs: number, callback: () => void): void {
    const timer = this.#parts.env.clock.timer(delayMs, () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
      if (!this.#stopped) this.#guard(callback);
    });
    this.#timers.push(timer);
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #fail(error: Error): void {
    this.#stopped = true;
    this.#parts.onFatal(error);
  }
}
