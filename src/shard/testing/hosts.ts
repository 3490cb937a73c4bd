import { expect } from "bun:test";
import type { ReplySink } from "../../../protocol/handler.ts";
import { type GroupId, groupId, logIndex, type NodeId, nodeId, shardOfGroup } from "../../../protocol/ids.ts";
import { type ClientResponse, NO_SESSION } from "../../../protocol/messages.ts";
import type { Configuration, GroupMessage } from "../../../protocol/peer-messages.ts";
import { inlineBackground } from "../../../test/support/inline-background.ts";
import { MemoryFileSystem } from "../../../test/support/memory-fs.ts";
import { VirtualClock } from "../../../test/support/virtual-clock.ts";
import { utf8 } from "../../lib/bytes.ts";
import { seededRandom } from "../../lib/prng.ts";
import { founders, type Members } from "../../raft/configuration.ts";
import { createRaft } from "../../raft/raft.ts";
import type { WritePressure } from "../../storage/engine.ts";
import { MemoryEngine } from "../../storage/memory-engine.ts";
import { ApplyBuffer } from "../apply-buffer.ts";
import { EngineKeys } from "../engine-keys.ts";
import { EntryBuffers } from "../entry-buffers.ts";
import { KeyValueMachine } from "../key-value-machine.ts";
import { LogStore } from "../log-store.ts";
import { RequestStats } from "../request-stats.ts";
import { SealTracker } from "../seal-tracker.ts";
import { Shard } from "../shard.ts";
import { ShardHost } from "../shard-host.ts";
import { ShardReader } from "../shard-reader.ts";
import { ShardSpace } from "../shard-space.ts";
import { DEFAULT_SNAPSHOT_SIZES } from "../snapshot-format.ts";
import { SystemMachine } from "../system-machine.ts";
import { NO_SNAPSHOTS } from "./no-snapshots.ts";
import { plentiful } from "./plentiful.ts";

export const TIMINGS = {
  tickMs: 50,
  silentLeaderMs: 750,
  requestTimeoutMs: 5000,
  maintenanceMs: 1000,
  diskFullRetryMs: 500,
  handoverMs: 2000,
  settleMs: 200,
  slowSyncMs: 250,
  calmMs: 5000,
};
const LIMITS = { entryBytesMax: 1 << 20, waitingRequestsMax: 1000, quiesceTicks: 40 };
const REPLICATION = { appendBytesMax: 1 << 20, inflightAppendsMax: 8, inflightBytesMax: 1 << 20 };
/** The system group and three shards. */
export const GROUPS = 4;

class PressedEngine extends MemoryEngine {
  override pressure: WritePressure = "none";
}

/** The members of a cluster in one process, whose messages arrive in the next turn. */
export class Hosts {
  readonly clock = new VirtualClock();
  readonly members: ReadonlyMap<NodeId, Member>;
  /** Messages that this refuses are lost. */
  passes: (message: GroupMessage) => boolean = () => true;
  readonly logBytesMax: number;
  readonly prepare: (member: Member) => void;
  /** Who the members of all groups should be. */
  desired: Members | undefined;
  /** Who should lead all groups. */
  prefers: readonly NodeId[] = [];
  /** What nodes said of snapshots. */
  readonly told: string[] = [];
  /** Nodes that are heard of no more, and since when. */
  readonly diedAtMs = new Map<NodeId, number>();
  /** Nodes that somebody wanted to know of how long they are silent. */
  readonly watched = new Set<NodeId>();

  /** `prepare`: what is done to a member before its start. */
  constructor(size: number, logBytesMax = 1 << 30, prepare: (member: Member) => void = () => {}) {
    this.prepare = prepare;
    this.logBytesMax = logBytesMax;
    const ids = Array.from({ length: size }, (_, i) => nodeId(`n${i + 1}`));
    this.members = new Map(ids.map((id) => [id, new Member(id, ids, this)]));
    for (const id of ids) for (const other of ids) if (id !== other) this.of(id).host.connected(other);
    this.#ping();
  }

  /** Nodes that have nothing to say say so. */
  #ping(): void {
    for (const { id, host } of this.members.values()) {
      for (const other of this.members.values()) {
        if (other.id !== id) other.host.heardWhetherDeclines(id, host.declinesToLead);
      }
    }
    this.clock.timer(500, () => this.#ping());
  }

  of(id: string): Member {
    return this.members.get(nodeId(id))!;
  }

  send(group: GroupId, message: GroupMessage): void {
    if (!this.passes(message)) return;
    const declines = this.members.get(message.from)?.host.declinesToLead === true;
    this.clock.timer(0, () => {
      const to = this.members.get(message.to)?.host;
      to?.heardWhetherDeclines(message.from, declines);
      to?.received(group, message);
    });
  }

  /** Steps until a group has a leader that the others follow, and returns it. */
  async leaderOf(group: number): Promise<Member> {
    const members = [...this.members.values()];
    const leader = () =>
      members.find(
        ({ id, host }) =>
          host.shards[group]!.isLeader && members.every((other) => other.host.shards[group]!.leader === id),
      );
    await this.clock.until(() => leader() !== undefined);
    return leader()!;
  }

  async pass(ms: number): Promise<void> {
    const end = this.clock.nowMs() + ms;
    // Nodes that have stopped have no timers, and time would stand still.
    this.clock.timer(ms, () => {});
    while (this.clock.nowMs() < end) await this.clock.step();
  }
}

export class Member {
  readonly id: NodeId;
  readonly disk = new MemoryFileSystem();
  readonly engine: PressedEngine;
  readonly host: ShardHost;
  readonly logStore: LogStore;
  readonly clock: VirtualClock;
  readonly fatal: Error[] = [];
  /** How long a sync of its disk takes. */
  syncMs = 0;
  /** A replica of a group, as this member's disk has it; `members`: those that a new one knows. */
  readonly build: (group: number, members: Configuration) => Shard;

  constructor(id: NodeId, ids: readonly NodeId[], hosts: Hosts) {
    this.id = id;
    this.clock = hosts.clock;
    this.#slowDown();
    const { clock } = hosts;
    const silent = () => {};
    const seals = new SealTracker();
    const stats = new RequestStats();
    const random = seededRandom(Number(id.slice(1)));
    this.engine = new PressedEngine(seals);
    const { engine, disk } = this;
    const buffer = new ApplyBuffer(engine);
    const sizes = { segmentBytes: 128 * 1024, cacheBytes: 64 * 1024 };
    const logStore = LogStore.open({ fs: disk, background: inlineBackground(disk) }, "/log", sizes);
    this.logStore = logStore;
    const host: ShardHost = new ShardHost({
      env: { clock, log: { debug: silent, info: silent, warn: silent, error: silent } },
      self: id,
      mayTakePart: () => true,
      desiredMembers: () => hosts.desired,
      leaderPreference: () => hosts.prefers,
      timings: TIMINGS,
      ...{ engine, buffer, logStore, seals, stats, logBytesMax: hosts.logBytesMax },
      waitingRequestsMax: LIMITS.waitingRequestsMax,
      network: {
        send: (group, message) => hosts.send(group, message),
        ...{ flush: silent, forward: silent, report: silent },
        silentMs: (node) => {
          hosts.watched.add(node);
          return clock.nowMs() - (hosts.diedAtMs.get(node) ?? clock.nowMs());
        },
      },
      onFatal: (error) => void this.fatal.push(error),
      onTick: silent,
      onMaintenance: silent,
    });
    this.host = host;
    const keys = new EngineKeys();
    const buffers = new EntryBuffers(1024);
    const streams = plentiful(2);
    this.build = (number, members) => {
      const group = groupId(number);
      const isSystem = number === 0;
      const membership = { index: logIndex(0), configuration: members };
      return Shard.recover(
        {
          ...{ self: id, group, clock, logStore, buffers, stats, limits: LIMITS, streams },
          snapshots: DEFAULT_SNAPSHOT_SIZES,
          founders: members,
          space: isSystem ? undefined : new ShardSpace(shardOfGroup(group), engine, keys),
          flushEngine: () => engine.flush(),
          log: { info: (message) => void hosts.told.push(`${id} ${message}`), warn: silent },
          fail: (error) => void this.fatal.push(error),
          machine: isSystem
            ? new SystemMachine(silent)
            : new KeyValueMachine(shardOfGroup(group), buffer, keys),
          reader: isSystem ? undefined : new ShardReader(shardOfGroup(group), engine, keys, NO_SNAPSHOTS),
          send: (of, message) => hosts.send(of, message),
          wake: (shard) => host.wake(shard),
        },
        undefined,
        (log, hardState, applied) =>
          createRaft(
            {
              id,
              membership,
              floor: logStore.group(group).floor,
              heartbeatTicks: 2,
              electionTicks: 10,
              lease: 0,
              random,
              ...REPLICATION,
            },
            log,
            hardState,
            applied,
          ),
      );
    };
    for (let number = 0; number < GROUPS; number++) host.add(this.build(number, founders(ids)));
    hosts.prepare(this);
    host.start();
  }

  #slowDown(): void {
    const open = this.disk.open.bind(this.disk);
    this.disk.open = (path, mode) => {
      const file = open(path, mode);
      const sync = file.sync.bind(file);
      file.sync = async () => {
        const { syncMs } = this;
        if (syncMs > 0) await new Promise<void>((resolve) => this.clock.timer(syncMs, resolve));
        await sync();
      };
      return file;
    };
  }

  /** Begins a write; what it is answered turns up in the result. */
  put(group: number, key: string, value: string): { answer?: ClientResponse } {
    const result: { answer?: ClientResponse } = {};
    const sink: ReplySink = {
      reply: (_id, response) => {
        expect(result.answer).toBeUndefined();
        result.answer = response;
      },
    };
    const request = { kind: "put", stamp: NO_SESSION, condition: "always" } as const;
    const shard = this.host.shards[group]!;
    shard.write({ ...request, key: utf8(key), value: utf8(value) }, sink, 1, this.clock.nowMs());
    return result;
  }

  readStale(group: number, key: string): ClientResponse {
    let answer: ClientResponse | undefined;
    const sink: ReplySink = {
      reply: (_id, response) => {
        answer = response;
      },
    };
    const get = { kind: "get", key: utf8(key), consistency: "stale" } as const;
    this.host.shards[group]!.readStale(get, sink, 1, this.clock.nowMs());
    return answer!;
  }

  leads(): number[] {
    return this.host.shards.flatMap((shard, group) => (shard.isLeader ? [group] : []));
  }
}
