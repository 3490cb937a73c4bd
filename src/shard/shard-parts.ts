/** What a shard is built from. */
import type { GroupId, NodeId } from "../../protocol/ids.ts";
import type { Configuration, GroupMessage } from "../../protocol/peer-messages.ts";
import type { Clock, Log } from "../env/env.ts";
import type { EntryBuffers } from "./entry-buffers.ts";
import type { LogStore } from "./log-store.ts";
import type { PauseWatch } from "./pause-watch.ts";
import type { RequestStats } from "./request-stats.ts";
import type { Shard } from "./shard.ts";
import type { ShardReader } from "./shard-reader.ts";
import type { ShardSpace } from "./shard-space.ts";
import type { SnapshotSizes } from "./snapshot-format.ts";
import type { StateMachine } from "./state-machine.ts";
import type { StreamBudget } from "./stream-budget.ts";

export interface ShardParts {
  readonly self: NodeId;
  readonly group: GroupId;
  /** The members of a group that has no entry about its members yet. */
  readonly founders: Configuration;
  readonly clock: Pick<Clock, "nowMs" | "wallMs">;
  /** Notices that `nowMs` stood still; for all shards of the node. `undefined` where there are no leases that rest on it. */
  readonly pauses?: PauseWatch | undefined;
  readonly logStore: LogStore;
  readonly machine: StateMachine;
  /** Serves reads; the system group has none. */
  readonly reader: ShardReader | undefined;
  /** Where its data is in the engine; the system group has none. */
  readonly space: ShardSpace | undefined;
  /** For all shards of the node. */
  readonly streams: StreamBudget;
  readonly snapshots: SnapshotSizes;
  /** Makes what was written to the engine durable, with what all groups say of themselves. */
  readonly flushEngine: () => Promise<void>;
  readonly log: Pick<Log, "info" | "warn">;
  /** The node can't go on. */
  readonly fail: (error: Error) => void;
  /** For all shards of the node. */
  readonly buffers: EntryBuffers;
  readonly stats: RequestStats;
  readonly limits: ShardLimits;
  /** Queues a message to another member. */
  readonly send: (group: GroupId, message: GroupMessage) => void;
  /** Tells the host that `advance` has something to do. */
  readonly wake: (shard: Shard) => void;
}

export interface ShardLimits {
  /** Data of an entry beyond this goes out at once, and the rest of the turn into the next entry. */
  readonly entryBytesMax: number;
  /** Requests of a shard that may wait for replication, or for a read's quorum. */
  readonly waitingRequestsMax: number;
  /** After so many ticks in which nothing happens a group falls asleep. */
  readonly quiesceTicks: number;
}
