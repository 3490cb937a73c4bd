import {
  type GroupId,
  groupOfShard,
  type NodeId,
  type ShardId,
  SYSTEM_GROUP,
  shardId,
  shardOfGroup,
} from "../../protocol/ids.ts";
import type { Configuration, ConfigurationReport, GroupMessage } from "../../protocol/peer-messages.ts";
import { DEFAULT_LIMITS, type ReplicationLimits } from "../config.ts";
import type { Env } from "../env/env.ts";
import { founders, NO_MEMBERS } from "../raft/configuration.ts";
import { createRaft } from "../raft/raft.ts";
import { NO_FLOOR } from "../raft/types.ts";
import type { ApplyBuffer } from "../shard/apply-buffer.ts";
import { EngineKeys, metaKey } from "../shard/engine-keys.ts";
import { EntryBuffers } from "../shard/entry-buffers.ts";
import { KeyValueMachine } from "../shard/key-value-machine.ts";
import type { LogStore } from "../shard/log-store.ts";
import type { PauseWatch } from "../shard/pause-watch.ts";
import { ReadingSnapshots } from "../shard/reading-snapshots.ts";
import type { RequestStats } from "../shard/request-stats.ts";
import { Shard } from "../shard/shard.ts";
import type { ShardHost } from "../shard/shard-host.ts";
import { ShardReader } from "../shard/shard-reader.ts";
import { ShardSpace } from "../shard/shard-space.ts";
import type { SnapshotSizes } from "../shard/snapshot-format.ts";
import { StreamBudget } from "../shard/stream-budget.ts";
import { isNamed } from "../shard/system-facts.ts";
import type { SystemMachine } from "../shard/system-machine.ts";
import type { Engine } from "../storage/engine.ts";
import type { NodeTimings } from "../timings.ts";
import { firstVoters, type Membership } from "./membership.ts";

export interface ReplicaParts {
  readonly env: Pick<Env, "clock" | "random" | "log">;
  readonly self: NodeId;
  /** Where clients reach this node: `host:port`. */
  readonly address: string;
  /** Who founded the cluster, sorted; nobody, where this node joined it. */
  readonly founders: readonly NodeId[];
  readonly timings: NodeTimings;
  readonly replication: ReplicationLimits;
  /** Writes, and reads, of one shard that may wait. */
  readonly waitingRequestsMax: number;
  readonly snapshots: SnapshotSizes;
  /** Most bytes of snapshots that this node sends in a second. */
  readonly sendBytesPerSecond: number;
  /** Where leases rest on it. */
  readonly pauses: PauseWatch | undefined;
  readonly engine: Engine;
  readonly logStore: LogStore;
  readonly host: ShardHost;
  readonly membership: Membership;
  readonly systemMachine: SystemMachine;
  readonly buffer: ApplyBuffer;
  readonly stats: RequestStats;
  /** Whether what the cluster was founded with is on this node's disk: a replica can't be read back without. */
  readonly isKept: () => boolean;
  readonly send: (group: GroupId, message: GroupMessage) => void;
  readonly fail: (error: Error) => void;
}

/** How large the buffers are that a node's own log entries are cut from. */
const SLAB_BYTES = 256 * 1024;
const TELL_AGAIN_MS = 1000;
/** What could not be sent as snapshots for so many ticks may be sent in one. */
const BURST_TICKS = 2;
/** A leader of a later term than who told last tells again, if it has led for so long. */
const LATER_TERM_MS = 10_000;

/**
 * Which groups this node has a replica of: the system group always; those of shards as the system group's facts want it. A
 * replica is made as soon as the facts name this node, and destroyed once they do not any more and its group has let it go
 * by an entry that is committed: until then its vote, or what it has, may be needed.
 *
 * A group begins with the nodes that the cluster was founded with. Wherever else it comes it comes empty and knows of no
 * members: its leader sends what there is.
 */
export class Replicas {
  readonly #parts: ReplicaParts;
  readonly #keys = new EngineKeys();
  readonly #machines = new Map<GroupId, KeyValueMachine>();
  /** What clients scan as it was. */
  readonly readings: ReadingSnapshots;
  readonly #buffers = new EntryBuffers(SLAB_BYTES);
  /** By shard: what was last told of its members, and when. */
  readonly #told = new Map<
    ShardId,
    { readonly index: number; readonly term: number; readonly atMs: number }
  >();
  /** By shard: the term in which it was last seen to be led here, and since when. */
  readonly #led = new Map<ShardId, { readonly term: number; readonly sinceMs: number }>();
  /** When the reports of all replicas were last looked for. */
  #sawAllMs = Number.NEGATIVE_INFINITY;
  readonly #streams: StreamBudget;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
    const { engine, env, self, address, sendBytesPerSecond, timings } = parts;
    const sending = { bytesPerSecond: sendBytesPerSecond, burstMs: BURST_TICKS * timings.tickMs };
    this.#streams = new StreamBudget({ streams: DEFAULT_LIMITS.snapshotStreamsMax, ...sending }, env.clock);
    this.readings = new ReadingSnapshots({
      ...{ engine, keys: this.#keys, clock: env.clock, random: env.random },
      self: { node: self, address },
      max: DEFAULT_LIMITS.readingSnapshotsMax,
    });
  }

  /** Takes up what the disk has: the log or the engine knows of every replica that may have promised anything. */
  recover(): void {
    const { host, logStore, membership, engine } = this.#parts;
    host.add(this.#build(SYSTEM_GROUP));
    const { shards } = membership.kept.settings;
    const logged = new Set(logStore.known);
    for (let shard = 0; shard < shards; shard++) {
      const group = groupOfShard(shardId(shard));
      const hasData = engine.getSync(metaKey(group)) !== undefined;
      if (logStore.group(group).mustClear || !(logged.has(group) || hasData)) continue;
      host.add(this.#build(group));
    }
  }

  /** What the replica of a group holds. */
  machineOf(group: GroupId): KeyValueMachine | undefined {
    return this.#machines.get(group);
  }

  /** Makes and destroys replicas as the facts want it. To be called between turns. */
  follow(): void {
    const { host, membership, self, isKept, env } = this.#parts;
    const facts = membership.current;
    if (facts === undefined || !isKept()) return;
    for (const [shard, set] of facts.shards.entries()) {
      const group = groupOfShard(shardId(shard));
      const replica = host.group(group);
      const isOurs = isNamed(set, self);
      if (isOurs && replica === undefined && host.canTake(group)) host.add(this.#build(group));
      if (isOurs || replica === undefined || !replica.isLeftBehindBy(set.actual)) continue;
      env.log.info("destroys a replica that others have taken over", { shard });
      host.remove(replica);
      this.#machines.delete(group);
    }
  }

  /**
   * Who the members are of the shards that are led here, where the facts do not say so yet. What was told and came to nothing
   * is told again after a while. That they are the same still is told once a term, though not at once: a change that was
   * begun and never committed may have left a replica on a node that takes itself for a member, and only a later term tells
   * it that this will never be.
   */
  takeReports(nowMs: number): readonly ConfigurationReport[] {
    const { host, membership } = this.#parts;
    const { shards } = membership.facts;
    const reports: ConfigurationReport[] = [];
    for (const replica of this.#isTimeForAll(nowMs) ? host.shards : host.active) {
      if (!replica.isLeader || replica.group === SYSTEM_GROUP) continue;
      const shard = shardOfGroup(replica.group);
      const known = shards[shard]?.actual;
      if (known === undefined || replica.membersIndex < known.index) continue;
      const { membersIndex, term } = replica;
      if (membersIndex === known.index && !this.#isLaterTerm(shard, known.term, term, nowMs)) continue;
      const told = this.#told.get(shard);
      const isTold = told?.index === membersIndex && told.term === term;
      if (isTold && nowMs < told.atMs + TELL_AGAIN_MS) continue;
      const members = replica.settledMembers;
      if (members === undefined) continue;
      this.#told.set(shard, { index: members.index, term, atMs: nowMs });
      reports.push({ shard, ...members });
    }
    return reports;
  }

  /** Groups at rest have nothing new to tell: it is enough to look at them now and then. */
  #isTimeForAll(nowMs: number): boolean {
    if (nowMs < this.#sawAllMs + TELL_AGAIN_MS) return false;
    this.#sawAllMs = nowMs;
    return true;
  }

  /** Whether a shard has been led here for a while in a term later than `known`. */
  #isLaterTerm(shard: ShardId, known: number, term: number, nowMs: number): boolean {
    if (term <= known) return false;
    const led = this.#led.get(shard);
    if (led?.term === term) return nowMs >= led.sinceMs + LATER_TERM_MS;
    this.#led.set(shard, { term, sinceMs: nowMs });
    return false;
  }

  #foundersOf(group: GroupId): Configuration {
    const { self, membership, logStore } = this.#parts;
    if (group === SYSTEM_GROUP) {
      const ids = this.#parts.founders;
      const voters = firstVoters(ids);
      return { ...founders(voters), learners: ids.filter((id) => !voters.includes(id)) };
    }
    const first = membership.kept.first[shardOfGroup(group)] ?? [];
    // Who was dropped is none of the first any more: what it knew as one of them is lost.
    const isFirst = first.includes(self) && logStore.group(group).floor === NO_FLOOR;
    return isFirst ? founders(first) : NO_MEMBERS;
  }

  #build(group: GroupId): Shard {
    const { engine, logStore, systemMachine, buffer, host, env, self, timings, stats, fail } = this.#parts;
    const keys = this.#keys;
    const isSystem = group === SYSTEM_GROUP;
    const meta = engine.getSync(metaKey(group))?.slice();
    const { floor } = logStore.group(group);
    const machine = isSystem ? systemMachine : new KeyValueMachine(shardOfGroup(group), buffer, keys);
    if (machine instanceof KeyValueMachine) this.#machines.set(group, machine);
    return Shard.recover(
      {
        self,
        group,
        founders: this.#foundersOf(group),
        clock: env.clock,
        pauses: this.#parts.pauses,
        logStore,
        machine,
        reader: isSystem ? undefined : new ShardReader(shardOfGroup(group), engine, keys, this.readings),
        space: isSystem ? undefined : new ShardSpace(shardOfGroup(group), engine, keys),
        streams: this.#streams,
        snapshots: this.#parts.snapshots,
        flushEngine: () => engine.flush(),
        log: env.log,
        fail,
        buffers: this.#buffers,
        stats,
        limits: {
          entryBytesMax: DEFAULT_LIMITS.entryBytesMax,
          waitingRequestsMax: this.#parts.waitingRequestsMax,
          quiesceTicks: timings.quiesceTicks,
        },
        send: this.#parts.send,
        wake: (shard) => host.wake(shard),
      },
      meta,
      (log, hardState, applied, membership) =>
        createRaft(
          {
            id: self,
            membership,
            floor,
            lease: timings.leaseMs,
            heartbeatTicks: timings.heartbeatTicks,
            electionTicks: timings.electionTicks,
            random: env.random,
            ...this.#parts.replication,
          },
          log,
          hardState,
          applied,
        ),
    );
  }
}
